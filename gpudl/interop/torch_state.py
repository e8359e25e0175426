"""Reads weights saved by PyTorch (.pth, .pt), without executing their pickles, and safetensors."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpudl.interop.pickles import Call, RefusedError
from gpudl.interop.torch_file import (
    ORDERED_DICT,
    REBUILD,
    REBUILD_PARAMETER,
    REBUILD_V2,
    SIZE,
    Array,
    Storage,
    TorchFile,
    open_torch_file,
)

PREFIX = "module."  # added to each name by DataParallel and DistributedDataParallel
TIMES, MORE = 16, 1 << 26  # tensors share memory; together at most TIMES the file plus MORE bytes
AXES, MOST = 32, 1 << 40  # of a tensor: axes, elements


def load_torch_state(
    path: str | os.PathLike[str],
    key: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> dict[str, Array]:
    """The tensors of a .pth, .pt or .safetensors file by name, in the file's order, as arrays for
    `Module.load_state_dict`.

    >>> net = models.create("resnet50")
    >>> net.load_state_dict(load_torch_state("resnet50.pth"))

    Nothing in the file is executed. A checkpoint such as {"state_dict": …, "epoch": …} is accepted
    if only one entry holds tensors by name; otherwise pass the entry's name as `key`. The prefix
    "module." of DataParallel is removed if all names have it.
    rename: new names for parts of names between dots: {"fc": "linear"} turns "fc.weight" into
    "linear.weight".
    bfloat16 needs the package ml_dtypes. Every array is a copy, even if tensors share memory.
    Raises FileNotFoundError if the file does not exist, ValueError, which says what is wrong, if it
    is damaged or holds anything but tensors, dictionaries and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"load_torch_state: there is no file {path}")
    with open(path, "rb") as file:
        start = file.read(2)
        file.seek(0)
        if start != b"PK" and start[:1] != b"\x80":
            return _renamed(_safetensors(path, key), rename or {})
        try:
            return _renamed(_tensors(open_torch_file(file), key), rename or {})
        except RefusedError as error:
            raise ValueError(
                f"load_torch_state: {path} holds {error}; only weights can be read, as written by "
                "torch.save(model.state_dict(), path)"
            ) from None


def _safetensors(path: Path, key: str | None) -> dict[str, Array]:
    from gpudl.interop.safetensors import load

    if key is not None:
        raise ValueError(
            f"load_torch_state: {path} is not a PyTorch checkpoint and has no entry {key!r}; "
            "leave key out"
        )
    return {name: tensor.array for name, tensor in load(path).items()}


def _renamed(state: dict[str, Array], rename: Mapping[str, str]) -> dict[str, Array]:
    prefix = PREFIX if all(name.startswith(PREFIX) for name in state) else ""
    renamed = {}
    for name, array in state.items():
        parts = name.removeprefix(prefix).split(".")
        renamed[".".join(rename.get(part, part) for part in parts)] = array
    if len(renamed) < len(state):
        raise ValueError(f"load_torch_state: rename={dict(rename)} gives two tensors the same name")
    return renamed


class _Plan(NamedTuple):
    """A tensor as the file describes it: a strided view of a storage, counted in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensors(file: TorchFile, key: str | None) -> dict[str, Array]:
    plans = {name: _plan(name, call) for name, call in _weights(file.value, key).items()}
    total = sum(math.prod(p.shape) * p.storage.dtype.itemsize for p in plans.values())
    if total > TIMES * file.size + MORE:
        raise RefusedError(f"tensors that would take {total:,} bytes")
    tensors: dict[str, Array] = {}
    storage, elements = None, np.empty(0)
    for name in sorted(plans, key=lambda name: plans[name].storage.key):  # read each storage once
        if plans[name].storage != storage:
            storage = plans[name].storage
            elements = file.content(storage)
        tensors[name] = _view_copy(elements, plans[name])
    return {name: tensors[name] for name in plans}


def _weights(value: Any, key: str | None) -> dict[str, Call]:
    """The dictionary of tensors in a file: its value, or the only entry that is one."""
    entries = _entries(value)
    if entries is None:
        raise RefusedError("no dictionary of tensors")
    if key is not None:
        if key not in entries:
            raise RefusedError(f"no entry {key!r}, but {', '.join(map(repr, entries))}")
        return _weights(entries[key], None)
    others = [name for name, value in entries.items() if not _is_tensor(value)]
    if not others:
        return entries
    inner = {name: group for name in others if (group := _entries(entries[name]))}
    weights = {n: group for n, group in inner.items() if all(map(_is_tensor, group.values()))}
    if len(weights) == 1:
        return next(iter(weights.values()))
    if weights:
        raise RefusedError(f"several sets of weights; give one of {', '.join(weights)} as key")
    raise RefusedError(f"{others[0]!r}, which is not a tensor")


def _entries(value: Any) -> dict[str, Any] | None:
    """The entries of a dict or OrderedDict with string keys, None for anything else."""
    if isinstance(value, Call) and value.function.name == ORDERED_DICT and not value.arguments:
        value = value.items
    if not isinstance(value, dict):
        return None
    named: Mapping[Any, Any] = {
        name.decode("utf-8", "replace") if isinstance(name, bytes) else name: entry
        for name, entry in value.items()
    }
    return dict(named) if all(isinstance(name, str) for name in named) else None


def _is_tensor(value: Any) -> bool:
    kinds = (REBUILD, REBUILD_V2, REBUILD_PARAMETER)
    return isinstance(value, Call) and value.function.name in kinds


def _plan(name: str, call: Call) -> _Plan:
    """Checks everything that the file says about a tensor."""
    if call.function.name == REBUILD_PARAMETER and call.arguments:
        call = call.arguments[0]
    if not _is_tensor(call) or len(call.arguments) < 4:
        raise RefusedError(f"the tensor {name!r} in an unknown form")
    storage, offset, shape, strides = call.arguments[:4]
    shape, strides = _sizes(shape), _sizes(strides)
    if not isinstance(storage, Storage) or type(offset) is not int or offset < 0:
        raise RefusedError(f"the tensor {name!r} in an unknown form")
    if shape is None or strides is None or len(shape) != len(strides) or len(shape) > AXES:
        raise RefusedError(f"the tensor {name!r} in an unknown form")
    if math.prod(max(n, 1) for n in shape) > MOST:
        raise RefusedError(f"the tensor {name!r} of shape {shape}")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.extent:
        raise RefusedError(f"the tensor {name!r}, which extends beyond its storage")
    return _Plan(storage, offset, shape, strides)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """A tuple or torch.Size of non-negative integers; None for anything else."""
    if isinstance(value, Call) and value.function.name == SIZE and len(value.arguments) == 1:
        value = value.arguments[0]
    if not isinstance(value, tuple) or not all(type(n) is int and 0 <= n <= MOST for n in value):
        return None
    return value


def _view_copy(elements: Array, plan: _Plan) -> Array:
    """The tensor as an array of its own, in logical (C) order."""
    if 0 in plan.shape:
        return np.empty(plan.shape, plan.storage.dtype)
    width = elements.itemsize
    strides = [step * width for step in plan.strides]
    view = np.lib.stride_tricks.as_strided(
        elements[plan.offset :], plan.shape, strides, writeable=False
    )
    return np.array(view, order="C")
