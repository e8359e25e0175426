"""Transposed convolution: the data gradient of a convolution, as an operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case, Cost, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.conv import base, im2col
from gpudl.ops.conv.arguments import Number, Padding, each, windows
from gpudl.ops.conv.base import Size, Windowed


class TransposedConvolution(Windowed):
    """y[n,k,h,w] = bias[k] + sum of weight[c,k',r,s] · x[n,c,p,q] over all c, r, s, p, q with
    h = p*stride - padding + r*dilation, w likewise.

    With groups, input channel c belongs to group g = c // (C/groups) and k = g*(K/groups) + k'.
    x: (N, C, P, Q), weight: (C, K/groups, R, S), bias: (K) -> y: (N, K, H, W),
    H = (P - 1)*stride - 2*padding - extra + dilation*(R - 1) + output_padding + 1. conv_transpose1d
    has no rows, conv_transpose3d has depth as well.
    The kernels are those of the convolution from y to x, with image and output swapped.
    """

    inputs = ("x", "weight", "bias?")
    saves = ("x", "weight")

    stride: Size
    padding: Size
    dilation: Size
    groups: int
    extra: Size
    output_padding: Size

    def check_fields(self) -> None:
        super().check_fields()
        value = self.output_padding
        most = tuple(max(s, d) - 1 for s, d in zip(self.stride, self.dilation, strict=True))
        fits = len(value) == self.axes and all(
            0 <= v <= limit for v, limit in zip(value, most, strict=True)
        )
        require(
            fits,
            self,
            "output_padding",
            f"is {value}; it must be at least 0 and smaller than stride={self.stride} or "
            f"dilation={self.dilation}",
        )

    def infer(self, x: Spec, weight: Spec, bias: Spec | None = None) -> tuple[Spec, ...]:
        require_float(self, x=x, weight=weight, bias=bias)
        self.check_weight(weight, "C, K/groups")
        self.check_arrays(x, weight, weight.shape[0], weight.shape[0])
        k = weight.shape[1] * self.groups
        self.check_bias(bias, k, weight)
        outputs = self.output_size(x.shape, weight.shape)
        require(
            min(outputs) > 0,
            self,
            "padding",
            f"is {self.padding}; it crops the whole output for x {x.shape} and weight "
            f"{weight.shape}; use less padding",
        )
        self.check_padded("x", (*x.shape[:2], *outputs))
        return (Spec((x.shape[0], k, *outputs), x.dtype),)

    def output_size(self, x: Size, weight: Size) -> Size:
        """Spatial extents of y, from the shapes of x and weight."""
        fields = self.stride, self.padding, self.extra, self.dilation, self.output_padding
        return tuple(
            (p - 1) * stride - 2 * padding - extra + dilation * (taps - 1) + more + 1
            for p, taps, stride, padding, extra, dilation, more in zip(
                x[2:], weight[2:], *fields, strict=True
            )
        )

    # ------------------------------------------------------------------ definition

    def forward(self, xp: Any, x: Any, weight: Any, bias: Any = None) -> tuple[Any, ...]:
        shape = len(x), weight.shape[1] * self.groups, *self.output_size(x.shape, weight.shape)
        y = base.spread(xp, self, base.wide(x), base.wide(weight), shape)
        if bias is not None:
            y += bias.reshape(-1, *[1] * self.axes)
        return (y.astype(x.dtype, copy=False),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x, weight = saved[:2]
        dy = base.wide(dys[0])
        dx = dw = db = None
        if needs[0]:
            dx = base.correlate(xp, self, dy, base.wide(weight), x.shape[2:]).astype(x.dtype)
        if needs[1]:
            dw = base.weight_gradient(xp, self, base.wide(x), dy, weight).astype(x.dtype)
        if needs[2]:
            db = dy.sum((0, *range(2, dy.ndim))).astype(x.dtype)
        return dx, dw, db

    # ------------------------------------------------------------------ faster NumPy form

    def forward_im2col(self, xp: Any, x: Any, weight: Any, bias: Any = None) -> tuple[Any, ...]:
        dtype, outputs = x.dtype, self.output_size(x.shape, weight.shape)
        k = weight.shape[1] * self.groups
        shape = len(x), k, *base.triple(outputs, 1)
        x, weight = base.volume(base.wide(x)), base.volume(base.wide(weight))
        y = im2col.data_gradient(self.geometry, x, weight, shape)
        if bias is not None:
            y += base.wide(bias)[:, None, None, None]
        return (base.flat(y, self.axes).astype(dtype, copy=False),)

    def backward_im2col(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dtype = saved.x.dtype
        dy, x, weight = (base.volume(base.wide(a)) for a in (dys[0], saved.x, saved.weight))
        g = self.geometry
        dx = dw = db = None
        if needs[0]:
            dx = base.flat(im2col.forward(g, dy, weight, None, x.shape[2:]), self.axes)
        if needs[1]:
            dw = base.flat(im2col.weight_gradient(g, x, dy, weight), self.axes)
        if needs[2]:
            db = im2col.bias_gradient(dy)
        dx, dw, db = (a if a is None else a.astype(dtype, copy=False) for a in (dx, dw, db))
        return dx, dw, db

    # ------------------------------------------------------------------ kernels

    def image_and_output(self, *specs: Any) -> tuple[Spec, Spec]:
        return self.infer_cached(specs)[0], specs[0]

    # ------------------------------------------------------------------ for tests and benchmarks

    def cost(self, *specs: Any) -> Cost:
        present = [s for s in (*specs, *self.infer(*specs)) if s is not None]
        flops = 2 * specs[0].size * Spec(specs[1].shape[1:], specs[1].dtype).size
        return Cost(flops, sum(s.size * s.dtype.itemsize for s in present), flops // 2)

    def twin(self, torch: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        function = getattr(torch.nn.functional, f"conv_transpose{self.axes}d")
        y = function(
            x, weight, bias, self.stride, self.padding, self.output_padding, self.groups,
            self.dilation,
        )  # fmt: skip
        crop = [n for extra in self.extra[::-1] for n in (0, -extra)]
        return torch.nn.functional.pad(y, crop) if any(crop) else y


class ConvTranspose1dOp(TransposedConvolution):
    """x: (N, C, Q), weight: (C, K/groups, S) -> y: (N, K, W). See TransposedConvolution."""

    axes = 1

    @classmethod
    def cases(cls) -> Iterator[Case]:
        from gpudl.ops.conv import cases

        yield from cases.transposed(cls, cases.TRANSPOSED1D)


class ConvTranspose2dOp(TransposedConvolution):
    """x: (N, C, P, Q), weight: (C, K/groups, R, S) -> y: (N, K, H, W). See
    TransposedConvolution."""

    axes = 2

    @classmethod
    def cases(cls) -> Iterator[Case]:
        from gpudl.ops.conv import cases

        yield from cases.golden_transposed(cls)
        yield from cases.transposed(cls, cases.TRANSPOSED2D)
        yield from cases.refused_transposed(cls)


class ConvTranspose3dOp(TransposedConvolution):
    """x: (N, C, O, P, Q), weight: (C, K/groups, T, R, S) -> y: (N, K, D, H, W). See
    TransposedConvolution."""

    axes = 3

    @classmethod
    def cases(cls) -> Iterator[Case]:
        from gpudl.ops.conv import cases

        yield from cases.transposed(cls, cases.TRANSPOSED3D)


# -------------------------------------------------------------------- functions


@public("functional")
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    output_padding: Number = 0,
    groups: int = 1,
    dilation: Number = 1,
) -> Tensor:
    """Transposed convolution of sequences.

    input: (N, C, Q) or (C, Q), weight: (C, K/groups, S), bias: (K) -> (N, K, W) or (K, W). Other
    arguments, sizes and errors: see conv_transpose2d.
    """
    return _conv_transpose(
        ConvTranspose1dOp, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@public("functional")
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    output_padding: Number = 0,
    groups: int = 1,
    dilation: Number = 1,
) -> Tensor:
    """Transposed convolution of images: each input element adds a scaled filter to the output, at
    positions `stride` apart.

    input: (N, C, P, Q) or (C, P, Q), weight: (C, K/groups, R, S), bias: (K) -> (N, K, H, W) or
    (K, H, W), H = (P - 1)*stride - 2*padding + dilation*(R - 1) + output_padding + 1, W likewise.
    padding is cropped from the output; an axis may have a pair (before, after). output_padding
    adds rows at the end that a convolution with this stride would not read; it must be smaller
    than stride or dilation. Raises ValueError if shapes do not fit.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", chapter 4.
    """
    return _conv_transpose(
        ConvTranspose2dOp, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@public("functional")
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    output_padding: Number = 0,
    groups: int = 1,
    dilation: Number = 1,
) -> Tensor:
    """Transposed convolution of volumes.

    input: (N, C, O, P, Q) or (C, O, P, Q), weight: (C, K/groups, T, R, S), bias: (K) ->
    (N, K, D, H, W) or (K, D, H, W). Other arguments, sizes and errors: see conv_transpose2d.
    """
    return _conv_transpose(
        ConvTranspose3dOp, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def _conv_transpose(
    op: type[TransposedConvolution],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Number,
    padding: Padding,
    output_padding: Number,
    groups: int,
    dilation: Number,
) -> Tensor:
    name, rank = op.name, op.axes
    if isinstance(padding, str):
        raise ValueError(f"{name}: padding is {padding!r}; it must be an int, or one per axis")
    fields = windows(name, rank, weight, stride, padding, dilation, groups)
    more = each(name, "output_padding", output_padding, rank)
    single = input.ndim == rank + 1
    if single:
        input = input.unsqueeze(0)
    y = apply(op.of(*fields, more), input, weight, bias)
    return y.squeeze(0) if single else y  # type: ignore[no-any-return]
