"""Files out of a .tar.gz, straight into memory: no name in it can do harm."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from gpudl.data.errors import damaged
from gpudl.data.files import DataFile, opened

SLACK = 1 << 20  # bytes allowed for the members that nobody asked for


class _Limited:
    """The unpacked stream of a file that refuses to be read beyond a limit."""

    def __init__(self, file: DataFile, limit: int) -> None:
        self._file, self._left = file, limit

    def read(self, count: int) -> bytes:
        data = self._file.some(min(count, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise damaged(self._file.path, "unpacks to far more than is expected of it")
        return data


def read_members(path: Path, names: Sequence[str], limit: int) -> dict[str, bytes]:
    """The files called `names`, in whatever folder of the archive; each has at most `limit` bytes.

    Raises DataError where the archive is damaged, lacks one of them or holds far more than them.
    """
    found: dict[str, bytes] = {}
    with opened(path) as file:
        stream = _Limited(file, len(names) * limit + SLACK)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    name = member.name.rsplit("/", 1)[-1]
                    if name not in names or name in found:
                        continue
                    if not member.isreg() or member.sparse is not None or member.size > limit:
                        raise damaged(path, f"its {name} is no plain file of at most {limit} bytes")
                    content = archive.extractfile(member)
                    found[name] = content.read() if content else b""
        except (tarfile.TarError, UnicodeError) as error:
            raise damaged(path, f"is not a readable tar archive ({error})") from None
    if missing := [name for name in names if name not in found]:
        raise damaged(path, f"lacks {', '.join(missing)}")
    return found
