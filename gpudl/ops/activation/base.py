"""Base of activations: how one is declared, its test cases, and running it in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.launcher import Launcher
from gpudl.core.op import Array, Case, Cost, Op, Spec, require_float
from gpudl.ops.elementwise.quick_numpy import in_pieces, quick
from gpudl.ops.matrix.matmul import draw_bfloat16

# PyTorch's gradient at NaN differs between its vector code and its scalar code. These follow the
# scalar code, as PyTorch's CUDA kernels do (tests/ops/activation/test_activation.py).
NO_NAN = (-1, 0, 2, np.inf, -np.inf)


class Activation(Op):
    """y = f(x), elementwise. A subclass defines `value` and `gradient`; a function object of the
    same name stands in csrc/ops/activation/activation*.cu.

    FLOPS: operations per element; an exponential counts as eight.
    """

    kernels = ("flat", "flat_bfloat16")
    cpu: ClassVar[tuple[str, ...]] = ("pieces",)
    saves: ClassVar[tuple[str, ...]] = ("x",)
    special: ClassVar[tuple[float, ...]] = (-1, 0, 2, np.nan, np.inf, -np.inf)
    FLOPS: ClassVar[int] = 2

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        return (x,)

    def supports(self, kernel: Launcher, *specs: Any) -> bool:
        return bool((specs[0].dtype == np.float32) == (kernel.algorithm == "flat"))

    def value(self, xp: Any, x: Any) -> Any:
        raise TypeError(f"{self.name} declares no value")

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        """dy · f'(x), from saved.x or saved.y."""
        raise TypeError(f"{self.name} declares no gradient")

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return (self.value(xp, x).astype(x.dtype, copy=False),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        return (self.gradient(xp, dys[0], saved).astype(dys[0].dtype, copy=False),)

    def forward_pieces(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return in_pieces(lambda part: (self.value(quick, part),), (x,))

    def backward_pieces(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        def gradient(kept: Array, dy: Array) -> tuple[Array, ...]:
            return (self.gradient(quick, dy, saved._replace(**{self.saves[0]: kept})),)

        return in_pieces(gradient, (saved[0], dys[0]))

    def cost(self, x: Spec) -> Cost:
        return Cost(self.FLOPS * x.size, 2 * x.size * x.dtype.itemsize)

    def twin(self, torch: Any, x: Any) -> Any:
        function = getattr(torch.nn.functional, self.name, None)
        if function is None:
            raise TypeError(f"PyTorch has no {self.name}: define {type(self).__name__}.twin")
        return function(x, **self.parameters())

    @classmethod
    def common_cases(cls, *golden: float) -> Iterator[Case]:
        """Ragged and empty shapes, both memory orders, unaligned memory; `golden`: f(special)."""
        op = cls()
        for shape in [(3, 5), (2, 3, 5, 7), (0, 4), (1,), (1025,), ()]:
            yield Case("x".join(map(str, shape)), op, lambda rng, s=shape: (normal(rng, s),))
        yield Case("unaligned", op, lambda rng: (normal(rng, (603,))[1:],))
        yield Case(
            "channels last",
            op,
            lambda rng: (normal(rng, (2, 4, 3, 5)).transpose(0, 3, 1, 2),),
        )
        yield from cls.few_cases(*golden)

    @classmethod
    def few_cases(cls, *golden: float, scale: float = 2) -> Iterator[Case]:
        """Cases of a function whose kernel differs from relu's only in its function object."""
        op = cls()
        yield Case("ragged", op, lambda rng: (normal(rng, (37, 3), scale),))
        yield Case("bfloat16", op, off_kinks)
        x, y = np.array(cls.special, np.float32), np.array(golden, np.float32)
        yield Case("special values", op, lambda rng: (x,), golden=(y,))
        yield Case("integers", op, lambda rng: (np.arange(3),), error=rf"{op.name}: x is int64")


def off_kinks(rng: np.random.Generator) -> tuple[Array, ...]:
    """Draws without the kinks of functions, which coarse bfloat16 numbers would hit."""
    (x,) = draw_bfloat16((37, 3))(rng)
    x[np.isin(np.abs(x.astype(np.float32)), (0, 0.5, 1, 3, 6))] = 0.7
    return (x,)


def normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float = 1) -> Array:
    return np.asarray(rng.standard_normal(shape) * scale, np.float32)


def run(op: Op, input: Tensor, inplace: bool = False) -> Tensor:
    """The operator's output, written over the input if inplace."""
    if not inplace:
        return apply(op, input)  # type: ignore[no-any-return]
    if "x" in op.saves:  # backward reads the old values, so copy them first
        before = Tensor.from_array(input.array.copy(), input.device, input._node, input._index)
        return input._changed_in_place(apply(op, before))
    return input._changed_in_place(apply(op, input))
