"""Tensor: an array on a device with its place on the tape.

Arithmetic and all other functions are bound to the class by gpudl.ops, which reads what each
operator's module offers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from gpudl import autograd
from gpudl import device as devices
from gpudl.autograd import OpNode, Version
from gpudl.device import Device, MetaArray
from gpudl.op import Array, Op, Spec, is_floating

FLOAT32 = np.dtype(np.float32)


class Tensor:
    """An n-dimensional array with automatic differentiation.

    data: nested numbers, a NumPy or CuPy array, a Tensor or anything with __dlpack__. Python floats
    and their lists become float32, integers int64, as in PyTorch; NumPy arrays keep their dtype.
    """

    __slots__ = (
        "__weakref__", "_cell", "_grad", "_grad_slot", "_hooks", "_index", "_node",
        "_requires_grad", "data", "device",
    )  # fmt: skip
    __array_priority__ = 1000  # NumPy leaves `array + tensor` to us

    data: Array
    device: Device

    def __init__(
        self, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> None:
        where = devices.device(device) if device is not None else _device_of(data)
        self._set(_as_array(data, dtype, where), where, None, 0, [0])
        self.requires_grad = requires_grad

    def _set(self, data: Array, device: Device, node: Any, index: int, version: Version) -> None:
        self.data = data
        self.device = device
        self._node = node
        self._index = index
        self._cell = version
        self._requires_grad = False
        self._grad: Tensor | None = None
        self._grad_slot: Array | None = None
        self._hooks: list[Callable[[Any], Any]] | None = None

    @classmethod
    def _wrap(
        cls,
        data: Array,
        device: Device | None = None,
        node: Any = None,
        index: int = 0,
        version: Version | None = None,
    ) -> Tensor:
        """A Tensor of an array as it is: no copy, no conversion."""
        self = Tensor.__new__(Tensor)
        where = device if device is not None else _device_of(data)
        self._set(data, where, node, index, [0] if version is None else version)
        return self

    # ---------------------------------------------------------------- shape and kind

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        return len(self.data.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return int(self.data.size)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(len(self)):
            yield self[i]  # type: ignore[index]

    # ---------------------------------------------------------------- tape

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad or self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not is_floating(self.dtype):
            raise RuntimeError(
                "requires_grad: only floating-point tensors have gradients, "
                f"this is {self.dtype.name}"
            )
        if not value and self._node is not None:
            raise RuntimeError(
                "requires_grad: cannot be cleared on a computed tensor; use detach()"
            )
        self._requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        return self._node is None

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient; None until backward reaches this tensor."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and tuple(value.shape) != tuple(self.shape):
            raise ValueError(
                f"grad: shape {tuple(value.shape)}, the tensor has {tuple(self.shape)}"
            )
        self._grad = value

    @property
    def _version(self) -> int:
        return self._cell[0]

    def _edge(self) -> Any:
        if self._node is not None:
            return (self._node, self._index)
        return self if self._requires_grad else None

    def _accumulate(self, gradient: Array) -> None:
        """Add to `.grad`. A first gradient is copied: it may be another tensor's memory too.
        Parameters of an optimizer have a slot in its flat arena, which then holds the gradient."""
        if self._grad is not None:
            self._grad.data += gradient
            self._grad._cell[0] += 1
        elif self._grad_slot is not None:
            self._grad_slot[...] = gradient
            self._grad = Tensor._wrap(self._grad_slot, device=self.device)
        elif isinstance(gradient, MetaArray):
            self._grad = Tensor._wrap(gradient, device=self.device)
        else:
            self._grad = Tensor._wrap(gradient.copy(), device=self.device)

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Gradients of this tensor for all leaves that require them, added to their `.grad`."""
        autograd.backward(self, gradient, retain_graph, create_graph)

    def detach(self) -> Tensor:
        """The same memory, off the tape."""
        return Tensor._wrap(self.data, device=self.device, version=self._cell)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook(gradient)` when backward has this tensor's gradient; its result replaces it.

        Returns a function that removes the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor does not require gradients")
        if self._node is not None:
            hooks = self._node.hooks.setdefault(self._index, [])
        else:
            hooks = self._hooks = self._hooks if self._hooks is not None else []
        hooks.append(hook)
        return lambda: hooks.remove(hook)

    def retain_grad(self) -> None:
        """Keep `.grad` of a computed tensor as well."""
        if self._node is not None:
            self._node.retained[self._index] = self

    def _changed_in_place(self, result: Tensor) -> Tensor:
        """This tensor takes over a new value and its place on the tape."""
        if autograd.is_grad_enabled() and self.is_leaf and self._requires_grad:
            raise RuntimeError(
                "in-place update of a leaf that requires gradients; "
                "do it under no_grad(), or on a clone"
            )
        if result.shape != self.shape:
            raise ValueError(
                f"in-place update: the result has shape {tuple(result.shape)}, which does not fit "
                f"{tuple(self.shape)}"
            )
        if result.dtype.kind > self.dtype.kind and not is_floating(self.dtype):
            raise TypeError(
                f"in-place update: a {result.dtype.name} result does not fit into {self.dtype.name}"
            )
        self.data[...] = result.data
        self._cell[0] += 1
        self._node, self._index = result._node, result._index
        return self

    # ---------------------------------------------------------------- in and out

    def numpy(self) -> np.ndarray[Any, Any]:
        """A NumPy array; on cpu and emulator it shares the tensor's memory."""
        if self.requires_grad:
            raise RuntimeError(
                "numpy(): the tensor requires gradients; use tensor.detach().numpy()"
            )
        return self.device.to_numpy(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.device.to_numpy(self.data)
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **arguments: Any) -> Any:
        if self.requires_grad:
            raise BufferError("__dlpack__: the tensor requires gradients; use tensor.detach()")
        return self.data.__dlpack__(**arguments)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.numel() != 1:
            raise RuntimeError(f"item(): the tensor has {self.numel()} elements; it must have one")
        return self.device.to_numpy(self.data).item()

    def tolist(self) -> Any:
        return self.device.to_numpy(self.data).tolist()

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError(
                "the truth of a tensor with more than one element is ambiguous; use any() or all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError("only integer tensors with one element can be an index")
        return int(self.item())

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.numel() == 1 else repr(self)

    def __repr__(self) -> str:
        if isinstance(self.data, MetaArray):
            body = f"..., shape={tuple(self.shape)}"
        else:
            array = self.device.to_numpy(self.data)
            body = np.array2string(
                array, separator=", ", precision=4, threshold=1000, prefix="tensor("
            )
        notes = "" if self.dtype in (FLOAT32, np.int64, np.bool_) else f", dtype={self.dtype.name}"
        notes += "" if self.device.name == "cpu" else f", device='{self.device}'"
        if self._node is not None:
            notes += f", grad_fn=<{self._node.name}>"
        elif self._requires_grad:
            notes += ", requires_grad=True"
        return f"tensor({body}{notes})"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            "tensors are not pickled, because loading a pickle runs code; save weights with "
            "gpudl.save(module.state_dict(), 'weights.safetensors')"
        )

    def __deepcopy__(self, memo: Any) -> Tensor:
        if self._node is not None:
            raise RuntimeError("only leaves can be copied deeply; use detach() or clone()")
        copied = type(self).__new__(type(self))
        copied._set(self.data.copy(), self.device, None, 0, [0])
        copied._requires_grad = self._requires_grad
        if self._grad is not None:
            copied._grad = Tensor._wrap(self._grad.data.copy(), device=self.device)
        memo[id(self)] = copied
        return copied


def apply(op: Op, *tensors: Tensor | None) -> Any:
    """Run an operator on tensors and record it. Returns a Tensor, or a tuple of outputs."""
    arrays: list[Array | None] = []
    specs: list[Spec | None] = []
    where: Device | None = None
    recorded = False
    for name, tensor in zip(op.inputs, tensors, strict=True):
        if tensor is None:
            arrays.append(None)
            specs.append(None)
            continue
        data = tensor.data
        if where is None:
            where = tensor.device
        elif tensor.device is not where:
            raise ValueError(
                f"{op.name}: {name} is on {tensor.device}, the other inputs on {where}; "
                f"move it with .to({str(where)!r})"
            )
        recorded = recorded or tensor._requires_grad or tensor._node is not None
        arrays.append(data)
        specs.append(Spec(data.shape, data.dtype))
    if where is None:
        raise TypeError(f"{op.name}: takes at least one tensor")
    all_specs, all_arrays = tuple(specs), tuple(arrays)
    expected = op.infer_cached(all_specs)
    outputs = where.forward(op, all_specs, all_arrays)
    for name in op.mutates:
        changed = tensors[op.inputs.index(name)]
        if changed is not None:
            changed._cell[0] += 1
    node = None
    if recorded and op.differentiable and autograd._mode.recording:
        node = _record(op, where, tensors, all_arrays, outputs, all_specs)
    shared = tensors[0]._cell if op.view and tensors[0] is not None else None
    made = tuple(
        Tensor._wrap(y, where, node if node and is_floating(s.dtype) else None, i, shared)
        for i, (y, s) in enumerate(zip(outputs, expected, strict=True))
    )
    if node is not None:
        _note_versions(node, op, tensors, made)
    return made[0] if len(made) == 1 else made


def _record(
    op: Op, where: Device, tensors: Any, arrays: Any, outputs: Any, specs: Any
) -> OpNode | None:
    edges = tuple(
        t._edge() if t is not None and is_floating(t.data.dtype) else None for t in tensors
    )
    if not any(edge is not None for edge in edges):
        return None
    return OpNode(op, where, edges, op.save(arrays, outputs, specs), ())


def _note_versions(node: OpNode, op: Op, inputs: Any, outputs: Any) -> None:
    """Remember the version of everything saved, so that a later change in place is noticed."""
    saved = [
        (name, (inputs if is_input else outputs)[i])
        for name, (is_input, i) in zip(op.saves, op._saved_from, strict=True)
    ]
    node.versions = tuple(
        (name, t._cell, t._cell[0])
        for name, t in saved
        if t is not None and getattr(node.saved, name) is not None
    )


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of `data`; see Tensor."""
    made = Tensor(data, dtype, device, requires_grad)
    if hasattr(data, "shape") and not isinstance(made.data, MetaArray):
        made.data = made.data.copy()
    return made


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor on the cpu that shares the array's memory."""
    return Tensor._wrap(array, device=devices.cpu)


def _device_of(data: Any) -> Device:
    if isinstance(data, Tensor):
        return data.device
    if isinstance(data, MetaArray):
        return devices.meta
    if hasattr(data, "__cuda_array_interface__"):
        index = data.device.id if hasattr(data, "device") else 0
        return devices.device(f"cuda:{index}")
    return devices.cpu


def _as_array(data: Any, dtype: Any, where: Device) -> Array:
    if isinstance(data, Tensor):
        data = data.device.to_numpy(data.data) if data.device is not where else data.data
    if isinstance(data, MetaArray):
        return data
    if not hasattr(data, "shape") and hasattr(data, "__dlpack__"):
        data = np.from_dlpack(data)
    if not hasattr(data, "shape"):
        array = np.asarray(data)
        if array.dtype == object:
            raise ValueError(
                "tensor: the nested lists are ragged or hold something that is no number"
            )
        if dtype is None and array.dtype == np.float64:
            array = array.astype(np.float32)
        data = array
    if dtype is not None and data.dtype != np.dtype(dtype):
        data = data.astype(dtype)
    if data.dtype.kind not in "biuf" and data.dtype.name != "bfloat16":
        raise TypeError(
            f"tensor: dtype {data.dtype} is not supported; use floats, integers or bool"
        )
    return where.asarray(data)
