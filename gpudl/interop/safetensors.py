"""Weights in safetensors files, which hold only numbers and names, never code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.files import require_regular, write_bytes


def save(
    state_dict: Mapping[str, Tensor | np.ndarray[Any, Any]],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors by name to a .safetensors file, in logical (C) order.

    The file is written under a temporary name and then renamed, so it is never seen half written.
    metadata: further strings, stored in the file's header.
    Raises TypeError for anything but a dictionary, and for a value that is not a tensor.
    """
    import safetensors.numpy

    if not hasattr(state_dict, "items"):
        has_state = hasattr(state_dict, "state_dict")
        fix = "pass its state_dict()" if has_state else "pass a dictionary, as in {'x': tensor}"
        raise TypeError(f"save: state_dict is of type {type(state_dict).__name__}; {fix}")
    arrays = {name: _array(name, value) for name, value in state_dict.items()}
    content = safetensors.numpy.save(arrays, dict(metadata) if metadata else None)
    write_bytes(Path(path), content)


def load(path: str | os.PathLike[str], device: Any = None) -> dict[str, Tensor]:
    """The tensors of a .safetensors file by name, on `device`, by default the cpu.

    Raises FileNotFoundError if the file does not exist, ValueError if it is damaged or not a
    safetensors file.
    """
    try:
        arrays, _ = read(path)
        return {name: Tensor(array, device=device) for name, array in arrays.items()}
    except OSError:
        raise FileNotFoundError(f"load: {path} is not a file") from None
    except (ValueError, TypeError) as error:  # TypeError: a dtype that Tensors lack
        raise ValueError(
            f"load: {path} is damaged or not a safetensors file ({error}); read PyTorch's weights "
            "(.pt, .pth) with gpudl.interop.load_torch_state"
        ) from None


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The strings saved beside the tensors."""
    return read(path)[1]


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """The arrays of a .safetensors file by name, in its order, and its metadata.

    Raises OSError if there is no such file, ValueError if it is damaged or holds a number format
    that NumPy lacks, such as 8-bit floats.
    """
    from safetensors import SafetensorError, safe_open

    require_regular(Path(path))
    _register_bfloat16()
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, dict(file.metadata() or {})
    except AttributeError as error:  # NumPy has no such number format
        raise ValueError(f"it uses the number format {error.name}, which NumPy lacks") from None
    except (SafetensorError, TypeError) as error:
        raise ValueError(str(error)[:200]) from None


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
