"""Reads files of a .tar.gz archive into memory; nothing is extracted to disk."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from gpudl.data.errors import damaged
from gpudl.data.files import DataFile, opened

SLACK = 1 << 20  # bytes allowed for members that were not requested


class _Limited:
    """An unpacked stream that raises DataError after `limit` bytes."""

    def __init__(self, file: DataFile, limit: int) -> None:
        self._file, self._left = file, limit

    def read(self, count: int) -> bytes:
        data = self._file.some(min(count, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise damaged(self._file.path, "unpacks to far more data than expected")
        return data


def read_members(path: Path, names: Sequence[str], limit: int) -> dict[str, bytes]:
    """The contents of the files `names`, in any folder of the archive, at most `limit` bytes each.

    Raises DataError if the archive is damaged, lacks one of them or is far larger than they are.
    """
    contents: dict[str, bytes] = {}
    with opened(path) as file:
        stream = _Limited(file, len(names) * limit + SLACK)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    name = member.name.rsplit("/", 1)[-1]
                    if name not in names or name in contents:
                        continue
                    if not member.isreg() or member.sparse is not None or member.size > limit:
                        raise damaged(
                            path, f"its {name} is not a regular file of at most {limit} bytes"
                        )
                    stored = archive.extractfile(member)
                    contents[name] = stored.read() if stored else b""
        except (tarfile.TarError, UnicodeError) as error:
            raise damaged(path, f"is not a readable tar archive ({error})") from None
    if missing := [name for name in names if name not in contents]:
        raise damaged(path, f"lacks {', '.join(missing)}")
    return contents
