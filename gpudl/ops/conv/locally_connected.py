"""Locally connected layers: convolutions whose weights differ at each output position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.pool.base import Ints, Size, batched, each_axis, unbatched

MOST_ELEMENTS = (1 << 31) - 1
MOST_TILES = 65535  # CUDA's limit on the y and z axes of a grid


class LocallyConnected2dOp(Op):
    """y[n,k,p,q] = bias[p,q,k] + sum over r, s, c of weight[p,q,r,s,c,k]·x[n,c,h,w] with
    h = p*stride - padding + r, w likewise; x is 0 outside.

    x (N, C, H, W), weight (P, Q, R, S, C, K), bias (P, Q, K) -> y (N, K, P, Q): the layout of
    Keras' LocallyConnected2D with channels last, its merged axes split.
    """

    inputs = ("x", "weight", "bias?")
    saves = ("x", "weight")
    kernels = ("direct",)

    kernel_size: Ints
    stride: Ints
    padding: Ints

    def infer(self, x: Spec, weight: Spec, bias: Spec | None = None) -> tuple[Spec, ...]:
        require_float(self, x=x, weight=weight, bias=bias)
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
            value = getattr(self, name)
            require(min(value) >= least, self, name, f"is {value}; it must be at least {least}")
        require(len(x.shape) == 4, self, "x", f"is {x}; it must be (N, C, H, W)")
        require(0 not in x.shape[1:], self, "x", f"is {x}; only the batch may be empty")
        p, q = self.output_size(x.shape)
        window = self.kernel_size
        fits = p > 0 and q > 0
        message = f"is {window}, larger than x {x} with padding={self.padding}"
        require(fits, self, "kernel_size", message)
        wanted = (p, q, *window, x.shape[1])
        fits = len(weight.shape) == 6 and weight.shape[:5] == wanted and weight.shape[5] > 0
        require(fits, self, "weight", f"is {weight}; its shape must be {list(wanted)}, then K")
        k = weight.shape[-1]
        fits = bias is None or bias.shape == (p, q, k)
        require(fits, self, "bias", f"is {bias}; its shape must be {[p, q, k]}")
        tiles = max(-(-window[0] * window[1] * x.shape[1] // 32), -(-k // 32))
        require(tiles <= MOST_TILES, self, "weight", f"is {weight}; an output has too many weights")
        y = Spec((x.shape[0], k, p, q), x.dtype)
        for name, spec in (("x", x), ("weight", weight), ("y", y)):
            fits = spec.size <= MOST_ELEMENTS
            require(fits, self, name, f"is {spec}; it must have at most 2^31 - 1 elements")
        return (y,)

    def output_size(self, x_shape: Ints) -> Ints:
        """(P, Q)"""
        axes = zip(x_shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in axes)

    def padded(self, x: Array) -> Array:
        """x as (N, H, W, C), padded with zeros."""
        rows, columns = ((p, p) for p in self.padding)
        return np.pad(x.transpose(0, 2, 3, 1), ((0, 0), rows, columns, (0, 0)))

    def taps(self, x_shape: Ints) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
        """For each tap (r, s), the slices of the padded x that it reads."""
        counts = self.output_size(x_shape)
        for r, s in np.ndindex(*self.kernel_size):
            axes = zip((r, s), counts, self.stride, strict=True)
            rows, columns = (slice(t, t + (n - 1) * step + 1, step) for t, n, step in axes)
            yield (r, s), (rows, columns)

    def forward(self, xp: Any, x: Any, weight: Any, bias: Any = None) -> tuple[Any, ...]:
        frame = self.padded(x)
        y = sum(
            np.einsum("npqc,pqck->nkpq", frame[:, rows, columns], weight[:, :, r, s])
            for (r, s), (rows, columns) in self.taps(x.shape)
        )
        return (y if bias is None else y + bias.transpose(2, 0, 1),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, frame = dys[0], self.padded(saved.x)
        dframe, dweight = np.zeros_like(frame), np.zeros_like(saved.weight)
        for (r, s), (rows, columns) in self.taps(saved.x.shape):
            seen, weight = frame[:, rows, columns], saved.weight[:, :, r, s]
            if needs[0]:
                dframe[:, rows, columns] += np.einsum("nkpq,pqck->npqc", dy, weight)
            if needs[1]:
                dweight[:, :, r, s] = np.einsum("npqc,nkpq->pqck", seen, dy)
        top, left = self.padding
        height, width = saved.x.shape[2:]
        inside = dframe[:, top : top + height, left : left + width]
        return (
            np.ascontiguousarray(inside.transpose(0, 3, 1, 2)) if needs[0] else None,
            dweight if needs[1] else None,
            dy.sum(axis=0).transpose(1, 2, 0).copy() if needs[2] else None,
        )

    def reduction(self, x: Spec, weight: Spec, bias: Spec | None = None) -> int:
        window = self.kernel_size[0] * self.kernel_size[1]
        return max(x.shape[0], window * max(x.shape[1], weight.shape[5]))

    def cost(self, x: Spec, weight: Spec, bias: Spec | None = None) -> Cost:
        (y,) = self.infer(x, weight, bias)
        products = x.shape[0] * weight.size
        moved = sum(s.size for s in (x, weight, y, bias) if s is not None) * x.dtype.itemsize
        return Cost(2 * products, moved, products)

    def twin(self, torch: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        p, q = self.output_size(tuple(x.shape))
        columns = torch.nn.functional.unfold(x, self.kernel_size, 1, self.padding, self.stride)
        split = columns.reshape(len(x), x.shape[1], *self.kernel_size, p, q)
        y = torch.einsum("ncrspq,pqrsck->nkpq", split, weight)
        return y if bias is None else y + bias.permute(2, 0, 1)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def drawn(n: int, c: int, size: Ints, k: int, op: Any, bias: bool = True) -> Any:
            places = op.output_size((n, c, *size))
            shapes = [(n, c, *size), (*places, *op.kernel_size, c, k), (*places, k)]

            def make(rng: np.random.Generator) -> tuple[Any, ...]:
                x, w, b = (rng.standard_normal(s).astype(np.float32) for s in shapes)
                return x, w, b if bias else None

            return make

        plain, one = cls.of((2, 3), (1, 1), (0, 0)), cls.of((1, 1), (1, 1), (0, 0))
        strided = cls.of((3, 2), (2, 1), (1, 1))
        yield Case("2x3", plain, drawn(3, 5, (3, 4), 4, plain))
        yield Case("strided, padded", strided, drawn(2, 3, (5, 3), 3, strided))
        yield Case("many images", one, drawn(35, 2, (1, 2), 4, one, False))
        yield Case("many channels", one, drawn(2, 70, (1, 2), 132, one))
        yield Case("empty batch", plain, drawn(0, 2, (3, 4), 4, plain))
        x = np.array([[[[1, 2], [3, 4]]]], np.float32)
        weight = np.array([1, 10, 100, 1000], np.float32).reshape(2, 2, 1, 1, 1, 1)
        golden = (np.array([[[[1, 20], [300, 4000]]]], np.float32),)
        yield Case("by hand", one, lambda rng: (x, weight, None), golden=golden)
        yield Case("weight", plain, lambda rng: (x, weight, None), error="kernel_size is")
        wide = cls.of((1, 2), (1, 1), (0, 0))
        yield Case("positions", wide, lambda rng: (x, weight, None), error="weight is float32")


@public("functional")
def locally_connected2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
) -> Tensor:
    """A convolution with separate weights for each output position.

    input (N, C, H, W), weight (P, Q, R, S, C, K), bias (P, Q, K) -> (N, K, P, Q),
    P = (H + 2*padding - R)//stride + 1, Q likewise. Raises ValueError if shapes do not fit.
    """
    name = "locally_connected2d"
    if weight.ndim != 6:
        raise ValueError(
            f"{name}: weight has shape {list(weight.shape)}; it must be (P, Q, R, S, C, K)"
        )
    x, lacking = batched(name, input, 2)
    op = LocallyConnected2dOp.of(
        tuple(weight.shape[2:4]), each_axis(name, "stride", stride, 2),
        each_axis(name, "padding", padding, 2),
    )  # fmt: skip
    return unbatched(apply(op, x, weight, bias), lacking)


@public("functional")
def locally_connected1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
) -> Tensor:
    """locally_connected2d of sequences.

    input (N, C, W), weight (Q, S, C, K), bias (Q, K) -> (N, K, Q).
    """
    name = "locally_connected1d"
    if weight.ndim != 4:
        raise ValueError(f"{name}: weight has shape {list(weight.shape)}; it must be (Q, S, C, K)")
    steps, margin = each_axis(name, "stride", stride, 1), each_axis(name, "padding", padding, 1)
    x, lacking = batched(name, input, 1)
    flat = weight.unsqueeze(0).unsqueeze(2)
    b = None if bias is None else bias.unsqueeze(0)
    y = locally_connected2d(x.unsqueeze(2), flat, b, (1, *steps), (0, *margin))
    return unbatched(y.squeeze(2), lacking)
