"""The entries of a suite: operators with input shapes, and procedures of several operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpudl.core.dtypes import dtype_of
from gpudl.core.op import Array, Cost, Op, Spec, is_floating

Call = Callable[[], Any]
Row = dict[str, Any]  # a result, as in the file

DISTINCT = (1 << 22) + 17  # values drawn; larger arrays repeat them, as drawing is slow


class Draw(NamedTuple):
    """How to draw an input. Always random, because GPUs run faster on zeros.

    kind: "normal", "small" (normal with standard deviation 0.01), "uniform" in [0, 1), "positive"
    in [1, 2), "labels" (int64) less than `below`, or "given" (`values` in their own dtype).
    """

    shape: tuple[int, ...]
    kind: str = "normal"
    below: int = 0
    values: Any = None

    def spec(self, dtype: np.dtype[Any]) -> Spec:
        if self.kind == "labels":
            return Spec(self.shape, np.dtype(np.int64))
        if self.kind == "given":
            return Spec(self.shape, self.values.dtype)
        return Spec(self.shape, dtype)

    def array(self, rng: np.random.Generator, dtype: np.dtype[Any]) -> Array:
        if self.kind == "given":
            return self.values.copy()
        size = Spec(self.shape, dtype).size
        count = min(size, DISTINCT)
        drawn: Any
        if self.kind == "labels":
            drawn = rng.integers(0, self.below, count)
        elif self.kind in ("normal", "small"):
            deviation = np.float32(0.01 if self.kind == "small" else 1)
            drawn = deviation * rng.standard_normal(count, np.float32)
        else:
            drawn = rng.random(count, np.float32) + np.float32(self.kind == "positive")
        target = np.dtype(np.int64) if self.kind == "labels" else dtype
        return np.resize(drawn.astype(target, copy=False), size).reshape(self.shape)


def given(values: Any) -> Draw:
    """An input with these values; float64 becomes float32."""
    array = np.asarray(values)
    array = array.astype(np.float32) if array.dtype == np.float64 else array
    return Draw(array.shape, "given", values=array)


def labels(shape: tuple[int, ...], below: int) -> Draw:
    """Class indices less than `below`."""
    return Draw(shape, "labels", below)


@dataclass(frozen=True, eq=False)
class Workload:
    """An operator and the inputs it is measured on.

    inputs: for each input of the operator a Draw, or a shape to fill with normal numbers, or None
    if it is absent. Inputs missing at the end are absent too.
    directions: "forward"; "backward" for all gradients; "backward x weight" for only those.
    independent: the axis of the first input along which results do not depend on each other, so
    that the error of a few entries can be measured without computing all.
    peer: creates PyTorch's call from (torch, tensors); by default the operator's twin is the peer.
    quick: whether --quick includes it.
    """

    name: str
    op: Op
    inputs: tuple[Draw | tuple[int, ...] | None, ...]
    directions: tuple[str, ...] = ("forward", "backward")
    independent: int | None = None
    peer: Callable[..., Call] | None = None
    quick: bool = False

    def draws(self) -> tuple[Draw | None, ...]:
        absent = (None,) * (len(self.op.inputs) - len(self.inputs))
        inputs = (*self.inputs, *absent)
        return tuple(i if i is None or isinstance(i, Draw) else Draw(tuple(i)) for i in inputs)

    @property
    def has_dtype(self) -> bool:
        """Whether any input takes the requested dtype; given values and labels keep their own."""
        return any(d is not None and d.kind not in ("given", "labels") for d in self.draws())

    def specs(self, dtype: str) -> tuple[Spec | None, ...]:
        kind = dtype_of(dtype)
        return tuple(None if d is None else d.spec(kind) for d in self.draws())

    def arrays(self, dtype: str) -> tuple[Array | None, ...]:
        """The inputs on the CPU, the same on every call."""
        rng, kind = np.random.default_rng(0), dtype_of(dtype)
        return tuple(None if d is None else d.array(rng, kind) for d in self.draws())

    def needs(self, direction: str) -> tuple[bool, ...]:
        """Which inputs a backward direction computes gradients of."""
        named = direction.split()[1:]
        specs = self.specs("float32")
        op = self.op
        return tuple(
            s is not None
            and is_floating(s.dtype)
            and (n in named if named else n not in (*op.mutates, *op.constants))
            for n, s in zip(op.inputs, specs, strict=True)
        )

    def cost(self, direction: str, dtype: str) -> Cost:
        """Operations, and the fewest bytes to move. In backward, the gradient of each operand of a
        product costs as many operations as the product; the bytes are the gradient of the output
        and the saved arrays (read) and the gradients of the inputs (written)."""
        specs = self.specs(dtype)
        forward = self.op.cost(*specs)
        if direction == "forward":
            return forward
        needs = self.needs(direction)
        outputs = self.op.infer(*specs)
        named = dict(zip((*self.op.inputs, *self.op.outputs), (*specs, *outputs), strict=True))
        kept = self.op.save(specs, outputs, specs, needs)[:-1]
        saved = {n for n, k in zip(self.op.saves, kept, strict=True) if k is not None}
        written = {
            n: s for n, s, need in zip(self.op.inputs, specs, needs, strict=True) if need and s
        }
        factor = 1
        if forward.multiply_adds:
            operands = [n for n, s in written.items() if len(s.shape) > 1]
            factor = len(operands)
            if factor == 1:  # the gradient of one operand reads the other
                saved.discard(operands[0])
        read = [outputs[0], *(named[n] for n in saved)]
        moved = sum(s.size * s.dtype.itemsize for s in (*read, *written.values()) if s is not None)
        return Cost(factor * forward.flops, moved, factor * forward.multiply_adds)


@dataclass(frozen=True, eq=False)
class Procedure:
    """Work of several operators, such as a training step or a step of contrastive divergence.

    sides: creates the calls "gpudl", "torch", "torch graph", … from (device name, torch or None).
    The host's clock times them, launches included. errors: computes the error of each side against
    float64 from (device name, torch).
    """

    name: str
    sides: Callable[..., Mapping[str, Call]]
    cost: Cost | None = None
    items: int = 0  # images or samples per call
    quick: bool = False
    errors: Callable[..., Mapping[str, float]] | None = None


class Scale(NamedTuple):
    """The size of a selection: the kind of device ("cpu", "emulator" or "cuda"), and --quick."""

    kind: str
    quick: bool

    @property
    def gpu(self) -> bool:
        return self.kind == "cuda"
