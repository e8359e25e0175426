"""Finds the files of a data set, or downloads them.

Searched in this order: the requested folder, the folder in the environment variable GPUDL_DATA, the
user's cache. Missing files are downloaded, and their checksums verified, by the optional package
pooch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpudl.core.files import cache_folder, expanded
from gpudl.data.errors import DataError, NotFoundError

ENVIRONMENT = "GPUDL_DATA"


@dataclass(frozen=True)
class Remote:
    """A file on its publisher's server.

    checksum: "md5:…" or "sha256:…"; None if the reader checks the content instead.
    """

    url: str
    checksum: str | None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Layout:
    """One way to store the files of a data set in a folder.

    files: for each file its possible names; the first that exists counts.
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
    """Where the files of a data set may be.

    subfolders: of a data folder, to search before the folder itself.
    """

    name: str
    subfolders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    remotes: tuple[Remote, ...]

    def find(self, data_dir: Path | None, download: bool = True) -> Found:
        """The files, downloaded if they are in no folder.

        Raises DataError if a requested folder is missing or has only some of the files, or if a
        necessary download is impossible; the message says what to fetch and where to put it.
        """
        roots = list(_roots(data_dir))
        for root in roots:
            if files := self._search(root):
                return files
        for root in roots:
            self._refuse_incomplete(root)
        target = (data_dir or cache_folder()) / self.name
        if not download:
            raise self._missing(roots, target, "and downloading is switched off")
        self._fetch(roots, target)
        if files := self._search(target):
            return files
        raise self._missing(roots, target, "and the download did not contain it")

    def present(self, data_dir: Path | None = None) -> Path | None:
        """The folder with all files; None if there is none. Raises DataError as `find` does."""
        found = filter(None, map(self._search, _roots(data_dir)))
        return next((files.paths[0].parent for files in found), None)

    def _folders(self, root: Path) -> list[Path]:
        return [root / name for name in self.subfolders] + [root]

    def _search(self, root: Path) -> Found | None:
        for folder in self._folders(root):
            for layout in self.layouts:
                paths = [path for path in layout.find(folder) if path is not None]
                if len(paths) == len(layout.files):
                    return Found(layout.kind, paths)
        return None

    def _refuse_incomplete(self, root: Path) -> None:
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
                        f"{folder}: has only part of {self.name}; add {', '.join(absent)}"
                    )

    def _fetch(self, roots: Sequence[Path], target: Path) -> None:
        try:
            import pooch
        except ImportError:
            reason = "and downloading it needs pooch (pip install 'gpudl[train]')"
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
                reason = f"and downloading it failed ({_first_line(error)})"
                raise self._missing(roots, target, reason) from None

    def _missing(self, roots: Sequence[Path], target: Path, reason: str) -> DataError:
        return NotFoundError(
            f"{self.name} is not in {', '.join(map(str, roots)) or 'any data folder'}, {reason}; "
            f"use digits, which needs no download, or name a folder that has {self.name} with "
            f"--data-dir or {ENVIRONMENT}, or fetch these files into {target}:"
            + "".join(f"\n  {remote.url}" for remote in self.remotes)
        )


def _roots(data_dir: Path | None) -> Iterator[Path]:
    """The data folders in search order. Raises DataError if a named one is not a folder."""
    from_environment = os.environ.get(ENVIRONMENT)
    if data_dir is not None:
        yield _existing(data_dir, "data_dir")
    if from_environment:
        folder = expanded(from_environment)
        yield _existing(folder, f"the environment variable {ENVIRONMENT}")
    if cache_folder().is_dir():
        yield cache_folder()


def _existing(folder: Path, named_by: str) -> Path:
    if not folder.is_dir():
        wrong = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder}: {wrong}, but {named_by} names it; create it or name another")
    return folder


def _first_line(error: Exception) -> str:
    """What went wrong, in a few words: network libraries nest their messages."""
    kind = type(error).__name__
    if any(word in kind for word in ("Connection", "Proxy", "Timeout")):
        return "no connection to the server"
    return f"{kind}: {error}".splitlines()[0][:200]
