"""Where the files of a data set lie, and how they are fetched when they lie nowhere.

Looked through in turn: the folder asked for, the one that the environment variable GPUDL_DATA
names, the user's cache. What is in none of them is downloaded, checksum and all, with the optional
package pooch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpudl.core.files import cache_folder
from gpudl.data.errors import DataError

ENVIRONMENT = "GPUDL_DATA"


@dataclass(frozen=True)
class Remote:
    """A file on its publisher's server.

    checksum: "md5:…" or "sha256:…"; None where the reader checks the content instead.
    """

    url: str
    checksum: str | None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Layout:
    """One way in which the files of a data set lie in a folder.

    files: for each file the names that it may have, the first one found counts.
    """

    kind: str
    files: tuple[tuple[str, ...], ...]

    def find(self, folder: Path) -> list[Path | None]:
        return [
            next((folder / name for name in names if (folder / name).exists()), None)
            for names in self.files
        ]


@dataclass(frozen=True)
class Found:
    """The files of a data set: `paths` in the order of the layout's files."""

    kind: str
    paths: list[Path]


@dataclass(frozen=True)
class Source:
    """All that is needed to find the files of a data set.

    subfolders: of a data folder; the folder itself is looked through last.
    """

    name: str
    subfolders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    remotes: tuple[Remote, ...]

    def find(self, data_dir: Path | None, download: bool = True) -> Found:
        """The files, downloaded where they are nowhere.

        Raises DataError where a folder that was asked for is missing or has only some of the
        files, and where a download is needed but not possible; the message says what to fetch and
        where to put it.
        """
        roots = list(_roots(data_dir))
        for root in roots:
            if found := self._search(root):
                return found
        for root in roots:
            self._refuse_part(root)
        target = (data_dir or cache_folder()) / self.name
        if not download:
            raise self._missing(roots, target, "and downloading is switched off")
        self._fetch(roots, target)
        if found := self._search(target):
            return found
        raise self._missing(roots, target, "and the download did not bring it")

    def _folders(self, root: Path) -> list[Path]:
        return [root / name for name in self.subfolders] + [root]

    def _search(self, root: Path) -> Found | None:
        for folder in self._folders(root):
            for layout in self.layouts:
                paths = [path for path in layout.find(folder) if path is not None]
                if len(paths) == len(layout.files):
                    return Found(layout.kind, paths)
        return None

    def _refuse_part(self, root: Path) -> None:
        for folder in self._folders(root):
            for layout in self.layouts:
                paths = layout.find(folder)
                absent = [
                    names[0]
                    for names, path in zip(layout.files, paths, strict=True)
                    if path is None
                ]
                if len(absent) < len(paths):
                    raise DataError(
                        f"{folder}: has only a part of {self.name}; put {', '.join(absent)} there"
                    )

    def _fetch(self, roots: Sequence[Path], target: Path) -> None:
        try:
            import pooch
        except ImportError:
            reason = "and downloading it needs pooch (pip install pooch)"
            raise self._missing(roots, target, reason) from None
        pooch.get_logger().setLevel("WARNING")
        for remote in self.remotes:
            try:
                pooch.retrieve(
                    remote.url,
                    remote.checksum,
                    fname=remote.name,
                    path=target,
                    progressbar=sys.stderr.isatty(),
                )
            # No narrower class covers pooch's back ends, their time-outs and its checksum error.
            except Exception as error:
                reason = f"and downloading {remote.url} failed ({_first_line(error)})"
                raise self._missing(roots, target, reason) from None

    def _missing(self, roots: Sequence[Path], target: Path, reason: str) -> DataError:
        files = " ".join(remote.url for remote in self.remotes)
        return DataError(
            f"{self.name} is not in {', '.join(map(str, roots)) or 'any data folder'}, {reason}; "
            f"fetch {files} by hand into {target}, or name the folder that has it "
            f"with --data-dir or {ENVIRONMENT}"
        )


def _roots(data_dir: Path | None) -> Iterator[Path]:
    """The data folders, the first one first. Raises DataError where one that was named is none."""
    named = os.environ.get(ENVIRONMENT)
    if data_dir is not None:
        yield _existing(data_dir, "data_dir")
    if named:
        yield _existing(Path(named).expanduser(), f"the environment variable {ENVIRONMENT}")
    if cache_folder().is_dir():
        yield cache_folder()


def _existing(folder: Path, named_by: str) -> Path:
    if not folder.is_dir():
        wrong = "is not a folder" if folder.exists() else "is not there"
        raise DataError(f"{folder}: {wrong}, but {named_by} names it; create it or name another")
    return folder


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
