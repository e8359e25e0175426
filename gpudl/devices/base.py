"""What all devices have in common."""

from __future__ import annotations

from _thread import _local  # threading.local; the module itself takes a millisecond to import
from collections.abc import Callable
from typing import Any

import numpy as np

from gpudl.core.op import Array, Arrays, Needs, Op, Specs


class Entered(_local):
    """The devices of the with statements that this thread is in, the innermost last."""

    devices: tuple[Device, ...] = ()


entered = Entered()


class Device:
    """A place for arrays. name: "cpu", "emulator", "cuda", "cuda:1" or "meta".

    As a context manager it is where constructors and layers make their tensors:

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
        """The NumPy array on this device; shares memory where it can."""
        return np.asarray(array)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return array  # type: ignore[no-any-return]

    def forward(self, op: Op, specs: Specs, arrays: Arrays, algorithm: str | None = None) -> Arrays:
        """Outputs of the operator. `algorithm` asks for one of its forms; None leaves it open."""
        raise TypeError

    def backward(
        self, op: Op, dys: Arrays, saved: Any, needs: Needs, algorithm: str | None = None
    ) -> Arrays:
        raise TypeError

    def synchronize(self) -> None:
        """Wait until all work submitted to the device is done."""


@np.errstate(all="ignore")  # as a decorator it costs a third of what a with statement does
def quietly(run: Callable[..., Any], *arguments: Any) -> Any:
    """Infinities and NaN pass without warnings, as in PyTorch."""
    return run(*arguments)
