"""The class Tensor: an array on a device with its place on the tape.

gpudl.ops binds arithmetic and all other functions to it, as each operator's module declares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from sys import getrefcount
from typing import Any, NoReturn, overload

import numpy as np

from gpudl.autograd import tape, views
from gpudl.autograd.arrays import as_array, place_of
from gpudl.autograd.methods import Methods
from gpudl.autograd.tape import HookHandle, Taped, Version, whole
from gpudl.core import dtypes
from gpudl.core.layout import is_dense, stored_order
from gpudl.core.op import Array, is_floating
from gpudl.devices.find import Device, MetaArray, cpu
from gpudl.devices.find import device as device_of

FLOAT32 = np.dtype(np.float32)


class Tensor(Taped, Methods["Tensor"]):
    """An n-dimensional array with automatic differentiation.

    Tensor(data) takes nested lists of numbers, which become float32 as in PyTorch (gpudl.tensor
    gives integers int64), or a NumPy or CuPy array, a Tensor, or anything with __dlpack__; unlike
    in PyTorch, these keep their dtype. Tensor(2, 3) holds 2 by 3 zeros, Tensor() nothing.
    """

    _grad: Tensor | None = None

    __array_priority__ = 1000  # so that NumPy leaves `array + tensor` to Tensor

    def __init__(
        self, *data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> None:
        number = len(data) == 1 and isinstance(data[0], (int, float))
        holds = len(data) == 1 and (not number or isinstance(data[0], np.generic))
        values = data[0] if holds else _zeros(data)
        if dtype is None and isinstance(values, (list, tuple)):
            dtype = FLOAT32
        self.array, self.device = _converted(values, dtype, device)
        self._cell = [0]
        if requires_grad:
            self.requires_grad = True

    @classmethod
    def from_array(
        cls,
        array: Array,
        device: Device | None = None,
        node: Any = None,
        index: int = 0,
        version: Version | None = None,
    ) -> Tensor:
        """A Tensor that holds this very array: no copy, no conversion."""
        self = Tensor.__new__(Tensor)
        self.array = array
        self.device = device if device is not None else _device_of(array)
        self._cell = [0] if version is None else version
        if node is not None:
            self._node = node
            self._index = index
        return self

    @property
    def data(self) -> Array:
        """The same as `array`."""
        return self.array

    @data.setter
    def data(self, value: Array) -> None:
        self.array = value

    # ---------------------------------------------------------------- shape and kind

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    @property
    def T(self) -> Tensor:  # noqa: N802 (PyTorch's name)
        """The axes in reverse order; the transpose of a matrix."""
        return self.permute(*range(self.ndim)[::-1])

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The last two axes swapped; the transpose of each matrix of a stack."""
        return self.transpose(-2, -1)

    @property
    def is_cuda(self) -> bool:
        return self.device.name.startswith("cuda")

    @property
    def itemsize(self) -> int:
        return int(self.dtype.itemsize)

    def element_size(self) -> int:
        """Bytes per element."""
        return self.itemsize

    @overload
    def size(self, dim: None = None) -> tuple[int, ...]: ...

    @overload
    def size(self, dim: int) -> int: ...

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return int(self.array.size)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len(): the tensor has no axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(len(self)):
            yield self[i]

    # ---------------------------------------------------------------- tape

    @property
    def requires_grad(self) -> bool:
        return self._edge() is not None

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
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"grad: must be a Tensor or None, got {type(value).__name__}")
        if value is not None and tuple(value.shape) != tuple(self.shape):
            raise ValueError(
                f"grad: shape {tuple(value.shape)}, the tensor has {tuple(self.shape)}"
            )
        self._grad = value

    @property
    def _version(self) -> int:
        return self._cell[0]

    def _accumulate(self, gradient: Array, owned: bool = False) -> None:
        """Add to `.grad`. The first gradient is copied into this tensor's memory order, because
        another tensor may share its memory; not if it is `owned`, referenced by nothing else."""
        if self._grad is not None:
            self._grad.array += gradient
            self._grad._cell[0] += 1
            return
        if not isinstance(gradient, MetaArray):
            gradient = in_order_of(self.array, gradient, owned)
        self._grad = Tensor.from_array(gradient, device=self.device)

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Accumulate the gradients of this tensor into `.grad` of all leaves that require them."""
        backward(self, gradient, retain_graph, create_graph)

    def detach(self) -> Tensor:
        """The same memory, off the tape."""
        return Tensor.from_array(self.array, device=self.device, version=self._cell)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call `hook(gradient)` when backward has computed this tensor's gradient; a result other
        than None replaces the gradient.

        Returns a handle; `handle.remove()` removes the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor does not require gradients")
        if self._node is None:
            hooks = self._hooks = self._hooks if self._hooks is not None else {}
        else:
            self._node.hooks = self._node.hooks if self._node.hooks is not None else {}
            hooks = self._node.hooks.setdefault(self._index, {})
        return HookHandle(hooks, TensorHook(hook))

    def retain_grad(self) -> None:
        """Accumulate `.grad` of a computed tensor as well."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: the tensor does not require gradients")
        if self._node is not None:
            self._node.retain(self._index, self)

    def _changed_in_place(self, result: Tensor) -> Tensor:
        """Give this tensor the value of `result` and its place on the tape."""
        views.check_change(self, result)
        views.change(self, result if result.dtype == self.dtype else result.to(self.dtype))
        return self

    # ---------------------------------------------------------------- in and out

    def numpy(self) -> np.ndarray[Any, Any]:
        """A NumPy array; on cpu and emulator it shares memory with the tensor."""
        if self.requires_grad:
            raise RuntimeError(
                "numpy(): the tensor requires gradients; use tensor.detach().numpy()"
            )
        return self.device.to_numpy(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = np.asarray(self.device.to_numpy(self.array))  # of scalars too
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **arguments: Any) -> Any:
        if self.requires_grad:
            raise BufferError("__dlpack__: the tensor requires gradients; use tensor.detach()")
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.numel() != 1:
            raise RuntimeError(f"item(): the tensor has {self.numel()} elements; it must have one")
        return self.device.to_numpy(self.array).item()

    def tolist(self) -> Any:
        return self.device.to_numpy(self.array).tolist()

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError(
                "the truth value of a tensor with more than one element is ambiguous; "
                "use any() or all()"
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
        number = self.numel() == 1 and (spec or not self.shape) and self.device.name != "meta"
        return format(self.item(), spec) if number else repr(self)

    def __repr__(self) -> str:
        if isinstance(self.array, MetaArray):
            body = f"..., shape={tuple(self.shape)}"
        else:
            array = self.device.to_numpy(self.array)
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
            "tensors cannot be pickled, because loading a pickle runs code; save weights with "
            "gpudl.save(module.state_dict(), 'weights.safetensors')"
        )

    def __copy__(self) -> Tensor:
        """A tensor off the tape that shares memory with this one."""
        copied = self.detach()
        copied._requires_grad = self._requires_grad
        return copied

    def __deepcopy__(self, memo: Any) -> Tensor:
        if self._node is not None:
            raise RuntimeError("only leaves can be deep-copied; use detach() or clone()")
        copied = type(self).__new__(type(self))
        copied.array = self.array if isinstance(self.array, MetaArray) else self.array.copy("K")
        copied.device = self.device
        copied._cell = [0]
        copied._requires_grad = self._requires_grad
        if self._grad is not None:
            copied._grad = Tensor.from_array(self._grad.array.copy("K"), device=self.device)
        memo[id(self)] = copied
        return copied


def in_order_of(like: Array, array: Array, owned: bool) -> Array:
    """A copy of the array in the memory order of `like`, if `like` has no gaps; the array itself if
    it is owned and already has that order."""
    if like.flags.c_contiguous:
        if owned and array.flags.c_contiguous:
            return array
        return whole(array.copy())
    order = stored_order(like)
    if owned and is_dense(array, order):
        return array
    return array.transpose(order).copy().transpose(sorted(range(len(order)), key=order.__getitem__))


def _pop(found: list[tuple[Any, Any]]) -> tuple[Any, Any, int, int]:
    """The last pair, with the reference counts of its gradient and of the gradient's base."""
    reached, gradient = found.pop()
    base = getattr(gradient, "base", None)
    return reached, gradient, getrefcount(gradient), getrefcount(base)


# The counts when nothing else references either; they depend on Python's version.
_, _, ALONE, BASE_ALONE = _pop([(None, np.empty((2, 2)).T)])


def _take(found: list[tuple[Any, Any]]) -> tuple[Tensor, Array, bool]:
    """The last tensor, its gradient, and whether nothing else references the gradient's memory."""
    reached, gradient, references, base_references = _pop(found)
    is_array = type(gradient) is np.ndarray or isinstance(gradient, reached.device.xp.ndarray)
    if references != ALONE or not is_array:
        return reached, gradient, False
    owner = gradient.base
    if owner is None:
        return reached, gradient, bool(gradient.flags.owndata)
    whole_view = (  # transposed, say
        base_references == BASE_ALONE
        and type(owner) is type(gradient)
        and bool(owner.flags.owndata)
        and owner.nbytes == gradient.nbytes
    )
    return reached, gradient, whole_view


def _zeros(shape: tuple[Any, ...]) -> Array:
    """What Tensor(2, 3) holds."""
    if any(not isinstance(n, int) or isinstance(n, bool) for n in shape):
        if len(shape) > 1:
            raise TypeError("Tensor: pass dtype and device by name; a shape consists of integers")
        raise TypeError(f"Tensor: {shape[0]!r} is no shape; for a number use gpudl.tensor()")
    return np.zeros(shape or 0, FLOAT32)


def _converted(data: Any, dtype: Any, device: Any) -> tuple[Array, Device]:
    """The data as an array on the device, by default its own, and that device."""
    target = device_of(device) if device is not None else _device_of(data)
    if isinstance(data, Tensor):
        data = data.array if data.device is target else data.device.to_numpy(data.array)
    return as_array(data, dtype, target), target


def _device_of(data: Any) -> Device:
    return data.device if isinstance(data, Tensor) else place_of(data)


class TensorHook:
    """Adapts a hook that takes and returns Tensors to the tape, which calls it with arrays."""

    def __init__(self, hook: Callable[[Tensor], Tensor | None]) -> None:
        self.hook = hook

    def __call__(self, gradient: Array, device: Device) -> Array:
        result = self.hook(Tensor.from_array(whole(gradient), device))
        if result is None:
            return gradient
        check_gradient("register_hook: the hook's result", result, gradient.shape)
        return result.array


def check_gradient(what: str, gradient: Any, shape: tuple[int, ...]) -> None:
    """Refuse anything but a Tensor of the gradient's shape."""
    if not isinstance(gradient, Tensor):
        raise TypeError(f"{what} must be a Tensor or None, got {type(gradient).__name__}")
    if tuple(gradient.shape) != tuple(shape):
        raise ValueError(
            f"{what} has shape {tuple(gradient.shape)}; the gradient must have {tuple(shape)}"
        )


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Accumulate gradients of `tensors` into `.grad` of all leaves that require gradients."""
    found = tape.walk(tape.roots_of(tensors, grad_tensors, create_graph), bool(retain_graph))
    found.reverse()
    while found:
        reached, gradient, owned = _take(found)
        reached._accumulate(gradient, owned)


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of `data`: a number, nested lists, a NumPy or CuPy array, a Tensor,
    or anything with __dlpack__. Python floats become float32 and integers int64; others keep their
    dtype."""
    array, target = _converted(data, dtype, device)
    if hasattr(data, "shape") and not isinstance(array, MetaArray):
        array = array.copy()
    result = Tensor.from_array(array, target)
    if requires_grad:
        result.requires_grad = True
    return result


def shared(data: Any, device: Any = None) -> Tensor:
    """tensor(data, device=device) that shares the memory of data where possible."""
    return Tensor.from_array(*_converted(data, None, device))


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor on the cpu that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}")
    if dtypes.dtype_of(array.dtype) != array.dtype:
        raise TypeError(
            f"from_numpy: dtype {array.dtype} has a foreign byte order; use gpudl.tensor(), "
            "which copies"
        )
    return Tensor.from_array(array, device=cpu)
