"""Reads weights saved by PyTorch (.pth, .pt), without executing their pickles, and safetensors."""

from __future__ import annotations

import itertools
import math
import os
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import numpy as np

from gpudl.interop.pickles import Call, Function, RefusedError
from gpudl.interop.torch_file import (
    DEFAULT_DICT,
    ORDERED_DICT,
    REBUILD,
    REBUILD_FROM_TYPE,
    REBUILD_PARAMETER,
    REBUILD_PARAMETER_WITH_STATE,
    REBUILD_V2,
    SIZE,
    Array,
    Storage,
    TorchFile,
    open_torch_file,
)

PREFIX = "module."  # added to each name by DataParallel and DistributedDataParallel
COMPILED = "_orig_mod"  # the part of a name that torch.compile adds for each compiled module
TIMES, MORE = 16, 1 << 26  # tensors share memory; together at most TIMES the file plus MORE bytes
AXES, MOST = 32, 1 << 40  # of a tensor: axes, elements
LISTED = 20  # names in a message


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
    if only one entry holds tensors by name; otherwise pass the entry's name as `key`. Its other
    entries may hold anything. The prefix "module." of DataParallel is removed if all names have it,
    "_orig_mod" of torch.compile everywhere.
    rename: new names for parts of names between dots: {"fc": "linear"} turns "fc.weight" into
    "linear.weight".
    bfloat16 needs the package ml_dtypes. Every array is a copy, even if tensors share memory.
    Raises FileNotFoundError if the file does not exist, ValueError, which says what is wrong, if it
    is damaged or holds anything but tensors, dictionaries and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"load_torch_state: {path} is not a file")
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
    names = [".".join(part for part in name.split(".") if part != COMPILED) for name in state]
    while names and all(name.startswith(PREFIX) for name in names):
        names = [name.removeprefix(PREFIX) for name in names]
    names = [".".join(rename.get(part, part) for part in name.split(".")) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f"load_torch_state: rename={dict(rename)} gives two tensors the same name")
    return dict(zip(names, state.values(), strict=True))


TENSORS = (REBUILD, REBUILD_V2, REBUILD_PARAMETER, REBUILD_PARAMETER_WITH_STATE, REBUILD_FROM_TYPE)
WRAPPERS = 3  # around a tensor, such as a parameter with attributes


class _Plan(NamedTuple):
    """A tensor as the file describes it: a strided view of a storage, counted in elements.

    conjugated, negated: PyTorch computes the conjugate and the negative of a view on first use
    only, and saves the view with these marks.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conjugated: bool
    negated: bool


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
        what = f", but a call of {value.function.name}" if isinstance(value, Call) else ""
        raise RefusedError(f"no dictionary of tensors{what}")
    if key is not None:
        if key not in entries:
            raise RefusedError(f"no entry {key!r}, but {_listed(entries)}")
        return _weights(entries[key], None)
    others = [name for name, value in entries.items() if not _is_tensor(value)]
    if not others:
        return entries
    inner = {name: group for name in others if (group := _entries(entries[name]))}
    weights = {n: group for n, group in inner.items() if all(map(_is_tensor, group.values()))}
    if len(weights) == 1:
        return next(iter(weights.values()))
    if weights:
        raise RefusedError(f"several sets of weights; give one of {_listed(weights)} as key")
    raise RefusedError(f"{reprlib.repr(others[0])}, which is {_kind(entries[others[0]])}")


def _kind(value: Any) -> str:
    is_call = isinstance(value, Call)
    return f"a call of {value.function.name}, not a tensor" if is_call else "not a tensor"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(reprlib.repr, itertools.islice(names, LISTED)))


def _entries(value: Any) -> dict[str, Any] | None:
    """The entries of a dict or OrderedDict with string keys, None for anything else."""
    if isinstance(value, Call) and value.function.name in (ORDERED_DICT, DEFAULT_DICT):
        pairs = value.arguments[0] if value.arguments else []  # as Python 2 saved an OrderedDict
        value = {**_pairs(pairs), **value.items}
    if not isinstance(value, dict):
        return None
    named: Mapping[Any, Any] = {
        name.decode("utf-8", "replace") if isinstance(name, bytes) else name: entry
        for name, entry in value.items()
    }
    return dict(named) if all(isinstance(name, str) for name in named) else None


def _pairs(value: Any) -> dict[Any, Any]:
    pairs = value if isinstance(value, list) else []
    if not all(
        isinstance(p, list) and len(p) == 2 and isinstance(p[0], str | bytes) for p in pairs
    ):
        return {}
    return dict(pairs)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Call) and value.function.name in TENSORS


def _unwrapped(call: Any) -> Any:
    """The call that builds the tensor inside a parameter, a subclass or one with attributes."""
    for _ in range(WRAPPERS):
        name, arguments = call.function.name, call.arguments
        if name in (REBUILD_PARAMETER, REBUILD_PARAMETER_WITH_STATE) and arguments:
            call = arguments[0]
        elif name == REBUILD_FROM_TYPE and len(arguments) > 2:
            function, _, inner = arguments[:3]
            if not isinstance(function, Function) or not isinstance(inner, tuple):
                return None
            call = Call(function, inner)
        if not isinstance(call, Call):
            return None
    return call


def _plan(name: str, tensor: Call) -> _Plan:
    """Checks everything that the file says about a tensor."""
    short = reprlib.repr(name)
    unknown = RefusedError(f"the tensor {short} in an unknown form")
    call = _unwrapped(tensor)
    if call is None or call.function.name not in (REBUILD, REBUILD_V2) or len(call.arguments) < 4:
        raise unknown
    storage, offset, shape, strides = call.arguments[:4]
    shape, strides = _sizes(shape), _sizes(strides)
    if not isinstance(storage, Storage) or type(offset) is not int or offset < 0:
        raise unknown
    if shape is None or strides is None or len(shape) != len(strides) or len(shape) > AXES:
        raise unknown
    if math.prod(max(n, 1) for n in shape) > MOST:
        raise RefusedError(f"the tensor {short} of shape {shape}")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.extent:
        raise RefusedError(f"the tensor {short}, which extends beyond its storage")
    marks = call.arguments[6] if len(call.arguments) > 6 else None
    if not isinstance(marks, (dict, NoneType)) or not set(marks or ()) <= {"conj", "neg"}:
        raise unknown
    conjugated, negated = (bool((marks or {}).get(mark)) for mark in ("conj", "neg"))
    return _Plan(storage, offset, shape, strides, conjugated, negated)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """A tuple or torch.Size of non-negative integers; None for anything else."""
    if isinstance(value, Call) and value.function.name == SIZE and len(value.arguments) == 1:
        value = value.arguments[0]
    if not isinstance(value, tuple) or not all(type(n) is int and 0 <= n <= MOST for n in value):
        return None
    return value


def _view_copy(elements: Array, plan: _Plan) -> Array:
    """The tensor as a separate array, in logical (C) order."""
    if 0 in plan.shape:
        return np.empty(plan.shape, plan.storage.dtype)
    width = elements.itemsize
    strides = [step * width for step in plan.strides]
    view = np.lib.stride_tricks.as_strided(
        elements[plan.offset :], plan.shape, strides, writeable=False
    )
    if plan.conjugated:
        view = np.conjugate(view)
    return np.array(np.negative(view) if plan.negated else view, order="C")
