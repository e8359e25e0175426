"""The meta device: shapes without values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpudl.core.op import Array, Arrays, Needs, Op, Spec, Specs
from gpudl.devices.base import Device


class MetaArray(NamedTuple):
    """An array of the meta device: shape and dtype without values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return Spec(self.shape, self.dtype).size


class Meta(Device):
    """Shapes only: VGG's summary without VGG's memory.

    multiply_adds: running total for all operators that ran here.
    """

    name = "meta"
    multiply_adds = 0

    def asarray(self, array: Any) -> Array:
        return MetaArray(tuple(array.shape), array.dtype)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        raise ValueError(
            "a tensor on the meta device has no values; build the model on cpu instead"
        )

    def forward(self, op: Op, specs: Specs, arrays: Arrays, algorithm: str | None = None) -> Arrays:
        outputs = op.infer_cached(specs)
        self.multiply_adds += op.cost(*specs).multiply_adds
        return tuple(MetaArray(s.shape, s.dtype) for s in outputs)

    forward_wide = forward

    def backward(
        self, op: Op, dys: Arrays, saved: Any, needs: Needs, algorithm: str | None = None
    ) -> Arrays:
        return tuple(
            MetaArray(s.shape, s.dtype) if n and s is not None else None
            for s, n in zip(saved.specs, needs, strict=True)
        )

    backward_wide = backward
