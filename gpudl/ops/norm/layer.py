"""Layer and RMS normalisation over the last axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public


class RowNorm(Op):
    """Shared by both. normalized_shape: the extents of the axes to normalise over."""

    kernels = ("rows",)
    normalized_shape: tuple[int, ...]
    eps: float = 1e-5
    vectors: ClassVar[tuple[str, ...]]  # inputs of shape normalized_shape
    statistics: ClassVar[int]  # number of outputs with the shape of the leading axes

    @property
    def columns(self) -> int:
        return math.prod(self.normalized_shape)

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"columns": self.columns}

    def check_fields(self) -> None:
        require(
            len(self.normalized_shape) > 0,
            self,
            "normalized_shape",
            "is empty; give the extent of at least one axis",
        )

    def infer(self, x: Spec, *vectors: Any) -> tuple[Spec, ...]:
        named = dict(zip(self.vectors, vectors, strict=True))
        require_float(self, x=x, **named)
        last = len(self.normalized_shape)
        require(
            x.shape[-last:] == self.normalized_shape,
            self,
            "x",
            f"is {x}; its last axes must be normalized_shape {list(self.normalized_shape)}",
        )
        for name, spec in named.items():
            require(
                spec is None or spec.shape == self.normalized_shape,
                self,
                name,
                f"is {spec}; it must have normalized_shape {list(self.normalized_shape)}",
            )
        require(x.size < 2**31, self, "x", f"is {x}; it must have at most 2^31 - 1 elements")
        return (x, *[Spec(x.shape[:-last], x.dtype)] * self.statistics)

    def rows(self, x: Any) -> Any:
        return x.reshape(*x.shape[: x.ndim - len(self.normalized_shape)], self.columns)

    def sum_rows(self, g: Any) -> Any:
        """The sum over all leading axes."""
        return g.reshape(-1, self.columns).sum(0).reshape(self.normalized_shape)

    def cost(self, x: Spec, *vectors: Any) -> Cost:
        return Cost(8 * x.size, 2 * x.size * x.dtype.itemsize)

    def reduction(self, x: Spec, *vectors: Any) -> int:
        rows = x.size // max(1, self.columns)
        return max(1, self.columns, rows)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def drawn(shape: tuple[int, ...], last: int = 1, affine: bool = True) -> Any:
            def make(rng: np.random.Generator) -> tuple[Any, ...]:
                x = rng.standard_normal(shape) * 1.5 + 0.5
                given = [rng.random(shape[-last:]) + 0.5 for _ in cls.vectors]
                arrays = [x, *(given if affine else [None] * len(given))]
                return tuple(None if a is None else a.astype(np.float32) for a in arrays)

            return make

        shapes = [(5, 7), (3, 2), (2, 3, 64), (9, 100), (4, 33), (2, 300), (2, 1030), (2, 4100)]
        for shape in shapes:
            yield Case("x".join(map(str, shape)), cls.of(shape[-1:]), drawn(shape))
        yield Case("two axes", cls.of((3, 4)), drawn((2, 5, 3, 4), 2))
        yield Case("all axes", cls.of((3, 4)), drawn((3, 4), 2))
        yield Case("many rows", cls.of((6,)), drawn((700, 6)))
        yield Case("no affine", cls.of((8,)), drawn((6, 8), affine=False))
        yield Case("empty batch", cls.of((3,)), drawn((0, 3)))
        constant = (np.full((3, 4), 7, np.float32), *[None] * len(cls.vectors))
        yield Case("constant", cls.of((4,)), lambda rng: constant)
        yield Case("wrong axes", cls.of((4,)), drawn((2, 3)), error="last axes must be")
        other = (np.ones((2, 3), np.float32), *[np.ones(2, np.float32)] * len(cls.vectors))
        yield Case("weight", cls.of((3,)), lambda rng: other, error="weight is float32")


class LayerNormOp(RowNorm):
    """y = (x - mean)·invstd·weight + bias with mean and biased variance over the last axes, invstd
    = 1/sqrt(var + eps). Ba, Kiros and Hinton 2016."""

    inputs = ("x", "weight?", "bias?")
    outputs = ("y", "mean", "invstd")
    saves = ("x", "weight", "mean", "invstd")
    vectors = ("weight", "bias")
    statistics = 2

    def forward(self, xp: Any, x: Any, weight: Any, bias: Any) -> tuple[Any, ...]:
        rows = self.rows(x)
        mean = rows.mean(-1, keepdims=True)
        centred = rows - mean
        invstd = 1 / xp.sqrt(xp.square(centred).mean(-1, keepdims=True) + self.eps)
        y = (centred * invstd).reshape(x.shape)
        y = y if weight is None else y * weight
        y = y if bias is None else y + bias
        return y.astype(x.dtype, copy=False), mean[..., 0], invstd[..., 0].astype(x.dtype)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dmean, dinvstd = dys
        invstd = saved.invstd[..., None]
        xhat = (self.rows(saved.x) - saved.mean[..., None]) * invstd
        g = self.rows(dy if saved.weight is None else dy * saved.weight)
        n = self.columns
        pull = (g * xhat).sum(-1, keepdims=True)
        if dinvstd is not None:
            pull = pull + dinvstd[..., None] * invstd
        dx = invstd * (g - g.mean(-1, keepdims=True) - xhat * (pull / n))
        if dmean is not None:
            dx = dx + dmean[..., None] / n
        dx = dx.reshape(dy.shape)
        return dx, self.sum_rows(self.rows(dy) * xhat), self.sum_rows(dy)

    def twin(self, torch: Any, x: Any, weight: Any, bias: Any) -> Any:
        return torch.nn.functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        x = np.array([[1.0, 3.0], [0.0, 4.0]], np.float32)  # means 2, 2; variances 1, 4
        weight, bias = f32([2, 1]), f32([0, 1])
        golden = (f32([[-2, 2], [-2, 2]]), f32([2, 2]), f32([1, 0.5]))
        yield Case("by hand", cls.of((2,), 1e-12), lambda rng: (x, weight, bias), golden=golden)


class RmsNormOp(RowNorm):
    """y = x·invrms·weight, invrms = 1/sqrt(mean(x²) + eps) over the last axes. Zhang and Sennrich
    2019."""

    inputs = ("x", "weight?")
    outputs = ("y", "invrms")
    saves = ("x", "weight", "invrms")
    vectors = ("weight",)
    statistics = 1

    def forward(self, xp: Any, x: Any, weight: Any) -> tuple[Any, ...]:
        rows = self.rows(x)
        invrms = 1 / xp.sqrt(xp.square(rows).mean(-1, keepdims=True) + self.eps)
        y = (rows * invrms).reshape(x.shape)
        y = y if weight is None else y * weight
        return y.astype(x.dtype, copy=False), invrms[..., 0].astype(x.dtype)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dinvrms = dys
        invrms = saved.invrms[..., None]
        xhat = self.rows(saved.x) * invrms
        g = self.rows(dy if saved.weight is None else dy * saved.weight)
        pull = (g * xhat).sum(-1, keepdims=True)
        if dinvrms is not None:
            pull = pull + dinvrms[..., None] * invrms
        dx = (invrms * (g - xhat * (pull / self.columns))).reshape(dy.shape)
        return dx, self.sum_rows(self.rows(dy) * xhat)

    def twin(self, torch: Any, x: Any, weight: Any) -> Any:
        return torch.nn.functional.rms_norm(x, self.normalized_shape, weight, self.eps)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        x = np.array([[1.0, 7.0], [3.0, 3.0]], np.float32)  # root mean squares 5 and 3
        golden = (f32([[0.2, 1.4], [1, 1]]), f32([1 / 5, 1 / 3]))
        yield Case("by hand", cls.of((2,), 1e-12), lambda rng: (x, None), golden=golden)


def f32(values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def shape_of(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(normalized_shape, int):
        return (normalized_shape,)
    return tuple(int(extent) for extent in normalized_shape)


@public("functional")
def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean)/sqrt(var + eps)·weight + bias, with mean and biased variance over the last axes.

    normalized_shape: the extents of these axes and the shape of weight and bias. Ba, Kiros and
    Hinton 2016. Raises ValueError if input's shape does not end in normalized_shape.
    """
    op = LayerNormOp.of(shape_of(normalized_shape), float(eps))
    return apply(op, input, weight, bias)[0]  # type: ignore[no-any-return]


@public("functional")
def rms_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x/sqrt(mean(x²) + eps)·weight, with the mean over the last axes.

    normalized_shape: the extents of these axes and the shape of weight. eps: by default the
    machine epsilon of the dtype computed in, float32 for 16-bit floats. Zhang and Sennrich 2019.
    Raises ValueError if input's shape does not end in normalized_shape.
    """
    if eps is None:
        eps = float(np.finfo(np.float64 if input.dtype == np.float64 else np.float32).eps)
    op = RmsNormOp.of(shape_of(normalized_shape), float(eps))
    return apply(op, input, weight)[0]  # type: ignore[no-any-return]
