"""Reads files of torch.save: a pickled value and the storages of its tensors.

Source of the formats: the documentation of torch.save ("Serialization semantics") and files that it
wrote. Since version 1.6 a file is a zip archive with the pickle `data.pkl` and an entry
`data/<key>` per storage; before, it was five pickles in a row, then the length and bytes of each
storage.
"""

from __future__ import annotations

import os
import reprlib
import struct
import zipfile
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from gpudl.core.dtypes import dtype_of
from gpudl.interop.pickles import Function, RefusedError, read

Array = np.ndarray[Any, Any]

REBUILD = "torch._utils._rebuild_tensor"
REBUILD_V2 = "torch._utils._rebuild_tensor_v2"
REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
REBUILD_PARAMETER_WITH_STATE = "torch._utils._rebuild_parameter_with_state"
REBUILD_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
ORDERED_DICT, DEFAULT_DICT = "collections.OrderedDict", "collections.defaultdict"
SIZE = "torch.Size"
STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128",
}

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # in files before version 1.6


class Storage(NamedTuple):
    """`extent` elements of the storage `key`, beginning with element `start`."""

    key: str
    dtype: np.dtype[Any]
    extent: int
    start: int = 0


class TorchFile(Protocol):
    """value: what was saved; each tensor's storage is a Storage. size: of the file, in bytes."""

    value: Any
    size: int

    def content(self, storage: Storage) -> Array:
        """The elements of a storage, 1-d. Raises RefusedError if some are missing."""


def open_torch_file(file: BinaryIO) -> TorchFile:
    """The saved value and its storages. Raises RefusedError for a damaged or unknown file."""
    start = file.read(2)
    file.seek(0)
    try:
        return _Archive(file) if start == b"PK" else _OldFile(file)
    except RefusedError:
        raise
    # The zip reader raises many types of exception for damaged files.
    except Exception as error:
        raise RefusedError(f"a damaged archive ({str(error)[:80]})") from None


class _Archive:
    """The format since version 1.6."""

    def __init__(self, file: BinaryIO) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self.archive = zipfile.ZipFile(file)
        pickles = [n for n in self.archive.namelist() if n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise RefusedError("no data.pkl, so PyTorch did not write it")
        self.root = pickles[0].removesuffix("data.pkl")
        has_order = self.root + "byteorder" in self.archive.namelist()
        self.big_endian = has_order and self._entry("byteorder") == b"big"
        self.value = read(self._entry("data.pkl"), None, _storage)

    def _entry(self, name: str) -> bytes:
        try:
            entry = self.archive.getinfo(self.root + name)
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > self.size:
                raise RefusedError(f"a compressed entry {name}, which PyTorch never writes")
            return self.archive.read(entry)
        except RefusedError:
            raise
        except Exception as error:  # as in open_torch_file
            raise RefusedError(f"a damaged entry {name} ({str(error)[:80]})") from None

    def content(self, storage: Storage) -> Array:
        return _elements(self._entry(f"data/{storage.key}"), storage, self.big_endian)


class _OldFile:
    """The format before version 1.6."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        if read(file) != MAGIC or read(file) != PROTOCOL:
            raise RefusedError("a pickle that torch.save did not write")
        system = read(file)
        self.big_endian = isinstance(system, dict) and system.get("little_endian") is False
        self.widths: dict[str, int] = {}
        self.value = read(file, None, self._reference)
        self.spans = self._find_storages(read(file))

    def _reference(self, name: Any) -> Storage | Function:
        value = _storage(name)
        if isinstance(value, Storage):
            self.widths[value.key] = value.dtype.itemsize
        return value

    def _find_storages(self, keys: Any) -> dict[str, tuple[int, int]]:
        """The position of each storage in the file and its size, in bytes."""
        spans = {}
        for key in map(_text, keys if isinstance(keys, list) else [keys]):
            if key not in self.widths:
                raise RefusedError(f"a storage {key!r} that no tensor uses")
            (count,) = struct.unpack(">q" if self.big_endian else "<q", self.file.read(8))
            spans[key] = (self.file.tell(), count * self.widths[key])
            if not 0 <= spans[key][1] <= self.size - self.file.tell():
                raise RefusedError(f"only part of the storage {key!r}")
            self.file.seek(spans[key][1], os.SEEK_CUR)
        return spans

    def content(self, storage: Storage) -> Array:
        if storage.key not in self.spans:
            raise RefusedError(f"no storage {storage.key!r}")
        start, size = self.spans[storage.key]
        self.file.seek(start)
        return _elements(self.file.read(size), storage, self.big_endian)


def _storage(name: Any) -> Storage | Function:
    """The storage for a persistent id, ("storage", type, key, device, count[, view]).

    Before version 1.6 also ("module", class, file, source) for the class of a module.
    """
    is_class = isinstance(name, tuple) and len(name) == 4 and name[0] == "module"
    if is_class and isinstance(name[1], Function):
        return name[1]
    if not isinstance(name, tuple) or len(name) not in (5, 6) or _text(name[0]) != "storage":
        raise RefusedError("a reference to something other than a storage")
    kind, key, count = name[1], name[2], name[4]
    if not isinstance(kind, Function) or kind.name not in STORAGES or type(count) is not int:
        raise RefusedError("a storage of unknown type")
    view = name[5] if len(name) == 6 else None
    start = 0
    if view is not None:  # part of another storage: (its own key, start, count)
        if not isinstance(view, tuple) or [type(n) for n in view[1:]] != [int, int]:
            raise RefusedError("a storage of unknown form")
        start, count = view[1:]
    return Storage(_text(key), dtype_of_storage(kind.name), count, start)


def dtype_of_storage(name: str) -> np.dtype[Any]:
    kind = STORAGES[name]
    return np.dtype(kind) if kind.startswith("complex") else dtype_of(kind)


def _text(value: Any) -> str:
    if isinstance(value, bytes):  # saved by Python 2
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise RefusedError(f"{reprlib.repr(value)} in place of a name")
    return value


def _elements(content: bytes, storage: Storage, big_endian: bool) -> Array:
    width = storage.dtype.itemsize
    stop = (storage.start + storage.extent) * width
    if storage.extent < 0 or storage.start < 0 or stop > len(content):
        raise RefusedError(f"a storage {storage.key!r} with too few elements")
    raw = np.frombuffer(content, np.uint8)[storage.start * width : stop]
    if storage.dtype == np.bool_:
        return np.not_equal(raw, 0)
    if big_endian:
        part = width // 2 if storage.dtype.kind == "c" else width
        raw = raw.view(f"u{part}").byteswap().view(np.uint8)
    typed: Array = raw.view(storage.dtype)
    return typed
