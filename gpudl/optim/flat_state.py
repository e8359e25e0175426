"""The state of an optimizer's parameters, in flat memory. The parameters and their gradients are
not moved."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.layout import shaped, stored_order
from gpudl.core.op import Array
from gpudl.devices.find import Device, NativeDevice

# Elements: state that is not gathered starts at multiples of 128 bytes, for vector accesses.
ALIGN = 32
SMALL = 1 << 13  # without kernels, parameters with fewer elements are gathered and updated together


class FlatState:
    """params: leaves with the same device and dtype. states: initial values by name.

    steps: how many updates each parameter has had. by_table: whether one kernel reads the
    parameters' addresses from a table; otherwise the states of small parameters are adjacent.
    """

    def __init__(self, params: Sequence[Tensor], states: Mapping[str, float]) -> None:
        self.params = list(params)
        self.device: Device = params[0].device
        self.dtype: np.dtype[Any] = params[0].dtype
        self.by_table = isinstance(self.device, NativeDevice) and self.dtype == np.float32
        self.arrays = [p.array for p in params]
        self.shapes = [tuple(p.shape) for p in params]
        self.sizes = [p.numel() for p in params]
        self.orders = [stored_order(a) for a in self.arrays]
        self.steps = [0] * len(params)
        self.offsets = [0] * len(params)
        self.size = 0
        for i in sorted(range(len(params)), key=lambda i: not self.by_table and not self.small(i)):
            if self.by_table or not self.small(i):
                self.size = -(-self.size // ALIGN) * ALIGN
            self.offsets[i] = self.size
            self.size += self.sizes[i]
        self.states: dict[str, Tensor] = {}
        self.fills: dict[str, float] = {}
        self.want_states(states)

    def small(self, i: int) -> bool:
        return self.sizes[i] < SMALL

    def want_states(self, states: Mapping[str, float]) -> bool:
        """Add and remove states to match, since a group's option may change during training.
        Returns whether anything changed."""
        changed = states.keys() != self.states.keys()
        if changed:
            self.states = {
                name: self.states[name] if name in self.states else self._flat(fill)
                for name, fill in states.items()
            }
            self.fills = dict(states)
        return changed

    def _flat(self, fill: float) -> Tensor:
        array = np.full(self.size, fill, self.dtype)
        return Tensor.from_array(self.device.asarray(array), self.device)

    def piece(self, flat: Tensor, i: int) -> Array:
        """Parameter i's part of a flat array."""
        return flat.array[self.offsets[i] : self.offsets[i] + self.sizes[i]]

    def part(self, flat: Tensor, i: int) -> Array:
        """Parameter i's part of a flat array, with the parameter's shape and memory order."""
        return shaped(self.piece(flat, i), self.shapes[i], self.orders[i])

    def fits(self) -> bool:
        """Does this state still match its parameters? Not if one has changed its device, dtype,
        shape or memory order."""
        arrays = [p.array for p in self.params]
        if all(map(operator.is_, arrays, self.arrays)):
            return True
        for p, shape, order in zip(self.params, self.shapes, self.orders, strict=True):
            same = p.device is self.device and p.dtype == self.dtype and p.shape == shape
            if not same or stored_order(p.array) != order:
                return False
        self.arrays = arrays
        return True
