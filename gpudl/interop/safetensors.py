"""Weights in safetensors files, which hold only numbers and names, never code."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor


def save(
    state_dict: Mapping[str, Tensor | np.ndarray[Any, Any]],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors by name to a .safetensors file, in logical (C) order.

    The file is written under a temporary name and then renamed, so it is never seen half written.
    metadata: further strings, stored in the file's header.
    Raises TypeError for a value that is not a tensor.
    """
    import safetensors.numpy

    arrays = {name: _array(name, value) for name, value in state_dict.items()}
    content = safetensors.numpy.save(arrays, dict(metadata) if metadata else None)
    write_atomically(Path(path), content)


def load(path: str | os.PathLike[str], device: Any = None) -> dict[str, Tensor]:
    """The tensors of a .safetensors file by name, on `device`, by default the cpu.

    Raises FileNotFoundError if the file does not exist, ValueError if it is damaged or not a
    safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    _register_bfloat16()
    if not Path(path).is_file():
        raise FileNotFoundError(f"load: {path} is not a file")
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            return {name: Tensor(file.get_tensor(name), device=device) for name in names}
    except SafetensorError as error:
        raise ValueError(
            f"load: {path} is damaged or not a safetensors file ({error}); read PyTorch's weights "
            "(.pt, .pth) with gpudl.interop.load_torch_state"
        ) from error


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The strings saved beside the tensors."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def _register_bfloat16() -> None:
    """Imports ml_dtypes, if installed; safetensors needs it for bfloat16."""
    try:
        import ml_dtypes  # noqa: F401
    except ImportError:
        return


def _array(name: str, value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, Tensor):
        value = value.device.to_numpy(value.array)
    if isinstance(value, np.ndarray):
        return np.array(value, order="C", copy=None)
    raise TypeError(f"save: {name!r} is a {type(value).__name__}; it must be a tensor")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file as a whole: readers see the old or the new content, even after a crash."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
