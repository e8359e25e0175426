"""Writes files atomically (under a temporary name, then renamed); reads JSON files; finds the cache
folder."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PART = re.compile(r"\..+\.[0-9a-f]{16}\.part(\.\w+)?")  # names of temporary files


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields the path of a new, empty file to write, which then replaces `path`.

    A crash, a full disk or a power cut at any moment leaves either the old file or the new one. The
    name is random and the file new, so nothing else is overwritten, not through a link either. What
    a killed process left behind is removed by `remove_parts`.
    Raises OSError, which names `path`.
    """
    stem = path.stem[:40]  # the name, at most 255 bytes long, may not become too long
    part = path.with_name(f".{stem}.{secrets.token_hex(8)}.part{path.suffix}")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def remove_parts(folder: Path) -> None:
    """Removes the temporary files of killed processes. The caller is the folder's only writer."""
    for path in filter(is_part, folder.iterdir()):
        path.unlink(missing_ok=True)


def is_part(path: Path) -> bool:
    return bool(PART.fullmatch(path.name)) and not path.is_dir()


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8. What it cannot hold, bytes of a file's name in another encoding, is written as
    \\udc80 to \\udcff, which JSON reads back."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def is_there(path: Path) -> bool:
    """Whether the name is taken, be it by a link that leads nowhere: for such a link `exists` is
    False, and what it stood for would silently count as never written."""
    return os.path.lexists(path)


def require_regular(path: Path) -> None:
    """Raises OSError if the path is not a regular file; reading a pipe or a device could block."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink() and error.errno in (errno.ENOENT, errno.ELOOP):
            raise OSError(error.errno, "A link that leads to no file", str(path)) from None
        raise
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises OSError if it cannot be read, ValueError if damaged."""
    import json

    require_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with ~ replaced by the home folder. Raises OSError if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise FileNotFoundError(
            errno.ENOENT, "There is no home folder (write the path in full)", str(path)
        ) from None


def cache_folder() -> Path:
    """The user's cache folder of gpudl: downloaded data, measured choices of kernels.

    Without a home folder, as in some containers, one in the system's folder for temporary files.
    """
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"gpudl-{os.getuid()}"
    return Path(base) / "gpudl"


def _sync_folder(folder: Path) -> None:
    """Makes the new name survive a power cut. Not all systems can open or sync folders; raises
    OSError if the disk itself fails or is full."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise
