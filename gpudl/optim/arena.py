"""Flat memory for parameters, gradients and optimizer state: one kernel updates them all.

An arena holds the parameters of one group that share device and dtype. Each parameter's `data`
becomes a view of the flat array, and so does its gradient when backward makes it
(Tensor._grad_slot).
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.layout import channels_first, channels_last, is_dense
from gpudl.core.op import Array, Spec
from gpudl.devices.find import Device, NativeDevice

ALIGN = (
    32  # elements: parameters start at multiples of 128 bytes, for vector accesses and tensor cores
)
PATTERNS = 64  # sets of parameters updated together that are remembered


class Arena:
    """params: leaves of one device and dtype. states: what each state starts with, by name.

    steps: how many updates each parameter has had.
    """

    def __init__(self, params: Sequence[Tensor], states: Mapping[str, float]) -> None:
        self.params = list(params)
        self.device: Device = params[0].device
        self.dtype: np.dtype[Any] = params[0].dtype
        self.shapes = [tuple(p.shape) for p in params]
        self.steps = [0] * len(params)
        self.offsets = [0]
        for p in params:
            self.offsets.append(self.offsets[-1] + -(-p.numel() // ALIGN) * ALIGN)
        self.values, self.gradients = self._flat(0.0), self._flat(0.0)
        self.states = {name: self._flat(fill) for name, fill in states.items()}
        self.fills = dict(states)
        self._masks: dict[tuple[int, ...], Tensor | None] = {}
        self._hyper: dict[tuple[int, ...], tuple[tuple[float, ...], Tensor]] = {}
        self._adopt()

    def _flat(self, fill: float) -> Tensor:
        array = np.full(self.offsets[-1], fill, self.dtype)
        return Tensor.from_array(self.device.asarray(array), self.device)

    def _adopt(self) -> None:
        """Move the parameters, and gradients that they have, into the arena."""
        self.orders = [self._channels_last(p) for p in self.params]
        self.views, self.slots = [], []
        for i, p in enumerate(self.params):
            view, slot = self.part(self.values, i), self.part(self.gradients, i)
            view[...] = p.array
            p.array = view
            p._grad_slot = (view, slot, weakref.ref(self))
            self.views.append(view)
            self.slots.append(slot)

    def _channels_last(self, p: Tensor) -> bool:
        """Kernels take weights of convolutions channels-last; on the cpu a parameter keeps its
        order."""
        if p.ndim not in (3, 4, 5):
            return False
        if isinstance(self.device, NativeDevice):
            return True
        last = is_dense(p.array, channels_last(p.ndim))
        return last and not is_dense(p.array, tuple(range(p.ndim)))

    def part(self, flat: Tensor, i: int) -> Array:
        """The piece of a flat array that belongs to parameter i, in its shape and memory order."""
        shape = self.shapes[i]
        start = self.offsets[i]
        piece = flat.array[start : start + Spec(shape, self.dtype).size]
        if self.orders[i]:
            stored = piece.reshape([shape[axis] for axis in channels_last(len(shape))])
            return stored.transpose(channels_first(len(shape)))
        return piece.reshape(shape)

    # ---------------------------------------------------------------- while training

    def is_current(self) -> bool:
        """Do the parameters still live here? Not if somebody moved one or gave it another array."""
        return all(
            p.array is view and p.device is self.device
            for p, view in zip(self.params, self.views, strict=True)
        )

    def want_states(self, states: Mapping[str, float]) -> None:
        """Have exactly these states: an option of the group may change while training."""
        if states.keys() != self.states.keys():
            self.states = {
                name: self.states[name] if name in self.states else self._flat(fill)
                for name, fill in states.items()
            }
            self.fills = dict(states)

    def active(self) -> list[int]:
        """Parameters with a gradient; one that the user put there himself is copied into the
        arena."""
        found = []
        for i, p in enumerate(self.params):
            if p._grad is None:
                continue
            if p._grad.array is not self.slots[i]:
                self.slots[i][...] = p._grad.array
            found.append(i)
        return found

    def mask(self, chosen: Sequence[int]) -> Tensor | None:
        """Flags of the elements of these parameters; None for all."""
        key = tuple(chosen)
        if len(key) == len(self.params):
            return None
        if key not in self._masks:
            flags = np.zeros(self.offsets[-1], np.uint8)
            for i in key:
                flags[self.offsets[i] : self.offsets[i + 1]] = 1
            if len(self._masks) > PATTERNS:
                self._masks.clear()
            self._masks[key] = Tensor.from_array(self.device.asarray(flags), self.device)
        return self._masks[key]

    def hyper(self, chosen: tuple[int, ...], values: tuple[float, ...]) -> Tensor:
        """The rule's numbers for these parameters, on the device; sent only when they changed, and
        always to the same place: a captured graph goes on reading there."""
        known = self._hyper.get(chosen)
        if known is not None and known[0] == values:
            return known[1]
        array = self.device.asarray(np.array(values, self.dtype))
        if known is not None and known[1].shape == array.shape:
            tensor = known[1]
            tensor.array[...] = array
        else:
            tensor = Tensor.from_array(array, self.device)
        if len(self._hyper) > PATTERNS:  # ever other parameters without a gradient
            self._hyper.clear()
        self._hyper[chosen] = values, tensor
        return tensor

    def count(self, chosen: Sequence[int]) -> None:
        """Note that these parameters get one more update."""
        for i in chosen:
            self.steps[i] += 1

    def changed(self, chosen: Sequence[int]) -> None:
        """Note that these parameters were changed in place."""
        for i in chosen:
            self.params[i]._cell[0] += 1
