"""Checkpoints: one safetensors file with the arrays of a nested state and, as JSON, everything
else.

The file is replaced in one step, so arrays, counters and the position in the data always belong
together. It contains no code: unlike a pickle, a checkpoint from someone else is safe to open.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.files import write_bytes
from gpudl.interop.safetensors import read
from gpudl.train.errors import TrainingError

FORMAT = "gpudl-checkpoint-1"
ARRAY, PAIRS = "$array", "$pairs"  # keys that mark values JSON cannot represent


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested dicts, lists, numbers, strings, None, arrays and Tensors; atomically.

    The file includes a checksum of its contents. Raises OSError naming the file.
    """
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    text = json.dumps(_pack(state, "", arrays))
    write_bytes(path, save(arrays, {FORMAT: f"{_checksum(text, arrays)} {text}"}))


def load_state(path: Path) -> dict[str, Any]:
    """The state that `save_state` wrote, with NumPy arrays.

    Raises TrainingError if the file is missing, damaged or not a checkpoint.
    """
    try:
        arrays, metadata = read(path)
        text = metadata.get(FORMAT)
        if text is None:
            raise TrainingError(f"{path}: is not a checkpoint of gpudl; give the folder of a run")
        if not text.startswith("{"):  # older checkpoints have no checksum
            checksum, _, text = text.partition(" ")
            if checksum != _checksum(text, arrays):
                raise ValueError("its checksum is wrong")
        state: dict[str, Any] = _unpack(json.loads(text), arrays)
        if not isinstance(state, dict):
            raise ValueError("it contains no state")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TrainingError(
            f"{path}: is damaged ({str(error)[:200]}); train again in another folder"
        ) from None
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be read ({error.strerror or error}); check the name of the run"
        ) from None
    return state


def _checksum(text: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """CRC-32 of the text and of all arrays with their names, types and shapes."""
    crc = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        crc = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.tobytes(), crc)
    return f"{crc:08x}"


def save_weights(path: Path, weights: Mapping[str, Any]) -> None:
    """Write a state_dict as plain safetensors, which other frameworks can read; atomically."""
    from safetensors.numpy import save

    # ascontiguousarray would add an axis to a scalar, such as batch norm's counter.
    arrays = {name: np.asarray(to_numpy(value), order="C") for name, value in weights.items()}
    # Only one metadata entry: the order of several, and with it the file's bytes, would vary.
    write_bytes(path, save(arrays, {"format": "pt"}))


def load_weights(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a safetensors file. Raises TrainingError if it is missing or damaged."""
    try:
        return read(path)[0]
    except ValueError as error:
        raise TrainingError(f"{path}: is damaged ({error}); train the model again") from None
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be read ({error.strerror or error}); check the name of the run"
        ) from None


def to_numpy(value: Any) -> np.ndarray[Any, Any]:
    """A NumPy array with the values of a Tensor on any device, a CuPy array or a NumPy array."""
    if isinstance(value, Tensor):
        return value.device.to_numpy(value.array)
    return np.asarray(value.get() if hasattr(value, "get") else value)


def _pack(value: Any, path: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """`value` in a form that JSON can hold; its arrays are added to `arrays` under their paths."""
    if isinstance(value, Mapping):
        entries = [(key, _pack(item, f"{path}.{key}", arrays)) for key, item in value.items()]
        if all(isinstance(key, str) for key in value):
            return dict(entries)
        return {PAIRS: entries}
    if isinstance(value, (list, tuple)):
        return [_pack(item, f"{path}.{number}", arrays) for number, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "shape"):
        name = path.removeprefix(".")
        arrays[name] = np.ascontiguousarray(to_numpy(value)).reshape(value.shape)
        return {ARRAY: name}
    raise TypeError(
        f"save_state: {path.removeprefix('.')}: {type(value).__name__}; "
        "states hold dicts, lists, numbers, strings, None and arrays"
    )


def _unpack(value: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {ARRAY}:
        return arrays[value[ARRAY]]
    if value.keys() == {PAIRS}:
        return {key: _unpack(item, arrays) for key, item in value[PAIRS]}
    return {key: _unpack(item, arrays) for key, item in value.items()}
