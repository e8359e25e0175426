"""The protocol of all devices."""

from __future__ import annotations

from _thread import _local  # threading.local; the module itself takes a millisecond to import
from collections.abc import Callable
from typing import Any

import numpy as np

from gpudl.core.op import Array, Arrays, Needs, Op, Spec, Specs, is_small


class Entered(_local):
    """The devices of this thread's with statements, innermost last."""

    devices: tuple[Device, ...] = ()


entered = Entered()


class Device:
    """A place for arrays. name: "cpu", "emulator", "cuda", "cuda:1" or "meta".

    As a context manager it sets where constructors and layers create their tensors:

    >>> with gpudl.device("meta"):
    ...     net = models.create("vgg16")  # shapes, no memory
    """

    name: str
    xp: Any = np

    def __enter__(self) -> Device:
        entered.devices += (self,)
        return self

    def __exit__(self, *_: object) -> None:
        entered.devices = entered.devices[:-1]

    def __repr__(self) -> str:
        return f"device({self.name!r})"

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return self.name == (other if isinstance(other, str) else getattr(other, "name", None))

    def __hash__(self) -> int:
        return hash(self.name)

    def asarray(self, array: Any) -> Array:
        """The NumPy array on this device, sharing memory if possible."""
        return np.asarray(array)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return array  # type: ignore[no-any-return]

    def address(self, array: Array) -> int:
        """The address of the array's first element in the device's memory."""
        return array.__array_interface__["data"][0]  # type: ignore[no-any-return]

    def forward(self, op: Op, specs: Specs, arrays: Arrays, algorithm: str | None = None) -> Arrays:
        """The operator's outputs. algorithm: the form to run; None lets the device choose."""
        raise TypeError

    def backward(
        self, op: Op, dys: Arrays, saved: Any, needs: Needs, algorithm: str | None = None
    ) -> Arrays:
        raise TypeError

    def forward_wide(
        self, op: Op, specs: Specs, arrays: Arrays, algorithm: str | None = None
    ) -> Arrays:
        """forward() of float16 and bfloat16 arrays, computed in float32 and rounded once."""
        widened = tuple(map(wide, arrays))
        outputs = self.forward(op, tuple(map(wide_spec, specs)), widened, algorithm)
        for name in op.mutates:
            array, changed = (given[op.inputs.index(name)] for given in (arrays, widened))
            if array is not None and changed is not array:
                quietly(array.__setitem__, ..., changed)
        return narrow(outputs, op.infer_cached(specs))

    def backward_wide(
        self, op: Op, dys: Arrays, saved: Any, needs: Needs, algorithm: str | None = None
    ) -> Arrays:
        """backward() of float16 and bfloat16 arrays, computed in float32 and rounded once."""
        widened = saved._make((*map(wide, saved[:-1]), tuple(map(wide_spec, saved.specs))))
        dxs = self.backward(op, tuple(map(wide, dys)), widened, needs, algorithm)
        return narrow(dxs, saved.specs)

    def synchronize(self) -> None:
        """Wait for all work submitted to the device."""


def wide(array: Array | None) -> Array | None:
    return array.astype(np.float32) if array is not None and is_small(array.dtype) else array


@np.errstate(over="ignore")  # values that are too large become infinite
def narrow(arrays: Arrays, specs: Specs) -> Arrays:
    return tuple(
        None if a is None or s is None else a.astype(s.dtype, copy=False)
        for a, s in zip(arrays, specs, strict=True)
    )


def wide_spec(spec: Spec | None) -> Spec | None:
    if spec is None or not is_small(spec.dtype):
        return spec
    return spec._replace(dtype=np.dtype(np.float32))


@np.errstate(all="ignore")  # a third of the cost of a with statement
def quietly(run: Callable[..., Any], *arguments: Any) -> Any:
    """Let infinities and NaN pass without warnings, as in PyTorch."""
    return run(*arguments)
