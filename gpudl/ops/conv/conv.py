"""Convolution over sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case, Cost, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.conv import base, im2col
from gpudl.ops.conv.arguments import Number, Padding, windows
from gpudl.ops.conv.base import ACTIVATIONS, Size, Windowed


class Convolution(Windowed):
    """y[n,k,p,q] = activation(sum over c, r, s of weight[k,c,r,s] · x[n,c',h,w] + bias[k] +
    residual[n,k,p,q]) with h = p*stride - padding + r*dilation, w likewise; x is 0 outside.

    With groups, output channel k belongs to group g = k // (K/groups) and c' = g*(C/groups) + c.
    x: (N, C, H, W), weight: (K, C/groups, R, S), bias: (K), residual, y: (N, K, P, Q). conv1d has
    no rows, conv3d has depth as well.
    activation: one of ACTIVATIONS, applied before the sums are stored.
    """

    inputs = ("x", "weight", "bias?", "residual?")
    saves = ("x", "weight", "y")

    stride: Size
    padding: Size
    dilation: Size
    groups: int
    extra: Size
    activation: str = "none"

    def check_fields(self) -> None:
        super().check_fields()
        known = self.activation in ACTIVATIONS
        require(known, self, "activation", f"is {self.activation!r}; use one of {ACTIVATIONS}")

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "activation": ACTIVATIONS.index(self.activation)}

    def infer(
        self, x: Spec, weight: Spec, bias: Spec | None = None, residual: Spec | None = None
    ) -> tuple[Spec, ...]:
        require_float(self, x=x, weight=weight, bias=bias, residual=residual)
        self.check_weight(weight, "K, C/groups")
        k = weight.shape[0]
        self.check_arrays(x, weight, weight.shape[1] * self.groups, k)
        self.check_bias(bias, k, weight)
        self.check_padded("x", x.shape)
        outputs = self.output_size(x.shape, weight.shape)
        require(
            min(outputs) > 0,
            self,
            "weight",
            f"has a window of {weight.shape[2:]} with dilation={self.dilation}, larger than x "
            f"{x.shape} with padding={self.padding}; pad more or use a smaller window",
        )
        y = Spec((x.shape[0], k, *outputs), x.dtype)
        require(
            residual is None or residual.shape == y.shape,
            self,
            "residual",
            f"has shape {residual and residual.shape}; it must be the output's, {y.shape}",
        )
        return (y,)

    def output_size(self, x: Size, weight: Size) -> Size:
        """Spatial extents of y, from the shapes of x and weight."""
        missing = (1,) * (3 - self.axes)
        outputs = self.geometry.outputs((*missing, *x[2:]), (*missing, *weight[2:]))
        return outputs[3 - self.axes :]

    # ------------------------------------------------------------------ definition

    def forward(
        self, xp: Any, x: Any, weight: Any, bias: Any = None, residual: Any = None
    ) -> tuple[Any, ...]:
        outputs = self.output_size(x.shape, weight.shape)
        y = base.correlate(xp, self, base.wide(x), base.wide(weight), outputs)
        if bias is not None:
            y += bias.reshape(-1, *[1] * self.axes)
        if residual is not None:
            y += residual
        base.activate(xp, self.activation, y)
        return (y.astype(x.dtype, copy=False),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x, weight = saved.x, saved.weight
        dz = base.before_activation(xp, self.activation, dys[0], saved.y)
        wide, image = base.wide(dz), base.wide(x)
        dx = dw = db = None
        if needs[0]:
            dx = base.spread(xp, self, wide, base.wide(weight), x.shape).astype(x.dtype)
        if needs[1]:
            dw = base.weight_gradient(xp, self, wide, image, weight).astype(x.dtype)
        if needs[2]:
            db = wide.sum((0, *range(2, wide.ndim))).astype(x.dtype)
        return dx, dw, db, dz if needs[3] else None

    def save(self, inputs: Any, outputs: Any, specs: Any, needs: Any = None) -> Any:
        y = None if self.activation == "none" else outputs[0]
        return self.saved_type(inputs[0], inputs[1], y, specs)

    # ------------------------------------------------------------------ faster NumPy form

    def forward_im2col(
        self, xp: Any, x: Any, weight: Any, bias: Any = None, residual: Any = None
    ) -> tuple[Any, ...]:
        dtype = x.dtype
        x, weight, bias, residual = (
            a if a is None else base.wide(a) for a in (x, weight, bias, residual)
        )
        x, weight = base.volume(x), base.volume(weight)
        residual = residual if residual is None else base.volume(residual)
        outputs = self.geometry.outputs(x.shape[2:], weight.shape[2:])

        def finish(y: Any, images: slice) -> None:
            if residual is not None:
                y += residual[images]
            base.activate(np, self.activation, y)

        plain = residual is None and self.activation == "none"
        y = im2col.forward(self.geometry, x, weight, bias, outputs, None if plain else finish)
        return (base.flat(y, self.axes).astype(dtype, copy=False),)

    def backward_im2col(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dz = base.before_activation(xp, self.activation, dys[0], saved.y)
        dy, x, weight = (base.volume(base.wide(a)) for a in (dz, saved.x, saved.weight))
        g = self.geometry
        dx = dw = db = None
        if needs[0]:
            dx = base.flat(im2col.data_gradient(g, dy, weight, x.shape), self.axes)
        if needs[1]:
            dw = base.flat(im2col.weight_gradient(g, dy, x, weight), self.axes)
        if needs[2]:
            db = im2col.bias_gradient(dy)
        dtype = saved.x.dtype
        dx, dw, db = (a if a is None else a.astype(dtype, copy=False) for a in (dx, dw, db))
        return dx, dw, db, dz if needs[3] else None

    # ------------------------------------------------------------------ kernels

    def image_and_output(self, *specs: Any) -> tuple[Spec, Spec]:
        return specs[0], self.infer_cached(specs)[0]

    # ------------------------------------------------------------------ for tests and benchmarks

    def cost(self, *specs: Any) -> Cost:
        (y,) = self.infer(*specs)
        present = [s for s in (*specs, y) if s is not None]
        flops = 2 * y.size * Spec(specs[1].shape[1:], y.dtype).size
        return Cost(flops, sum(s.size * s.dtype.itemsize for s in present), flops // 2)

    def twin(self, torch: Any, x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
        functional, padding = torch.nn.functional, self.padding
        if any(self.extra):
            pairs = zip(self.padding[::-1], self.extra[::-1], strict=True)
            x = functional.pad(x, [n for before, more in pairs for n in (before, before + more)])
            padding = (0,) * self.axes
        convolve = getattr(functional, self.name)
        y = convolve(x, weight, bias, self.stride, padding, self.dilation, self.groups)
        y = y if residual is None else y + residual
        return torch.relu(y) if self.activation == "relu" else y


class Conv1dOp(Convolution):
    """x: (N, C, W), weight: (K, C/groups, S) -> y: (N, K, Q). See Convolution."""

    axes = 1
    extra = (0,)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        from gpudl.ops.conv import cases

        yield from cases.convolutions(cls, cases.CONV1D)


class Conv2dOp(Convolution):
    """x: (N, C, H, W), weight: (K, C/groups, R, S) -> y: (N, K, P, Q). See Convolution."""

    axes = 2
    extra = (0, 0)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        from gpudl.ops.conv import cases

        yield from cases.golden_images(cls)
        yield from cases.convolutions(cls, cases.CONV2D)
        yield from cases.refused_images(cls)


class Conv3dOp(Convolution):
    """x: (N, C, D, H, W), weight: (K, C/groups, T, R, S) -> y: (N, K, O, P, Q). See
    Convolution."""

    axes = 3
    extra = (0, 0, 0)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        from gpudl.ops.conv import cases

        yield from cases.convolutions(cls, cases.CONV3D)


# -------------------------------------------------------------------- functions


@public("functional")
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    dilation: Number = 1,
    groups: int = 1,
    *,
    activation: str = "none",
    residual: Tensor | None = None,
    scale: Tensor | None = None,
) -> Tensor:
    """Cross-correlation of sequences with a bank of filters.

    input: (N, C, W) or (C, W), weight: (K, C/groups, S), bias: (K) -> (N, K, Q) or (K, Q). Other
    arguments, sizes and errors: see conv2d.
    """
    op = Conv1dOp.of(*windows("conv1d", 1, weight, stride, padding, dilation, groups), activation)
    return _conv(op, input, weight, bias, residual, scale)


@public("functional")
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    dilation: Number = 1,
    groups: int = 1,
    *,
    activation: str = "none",
    residual: Tensor | None = None,
    scale: Tensor | None = None,
) -> Tensor:
    """Cross-correlation of images with a bank of filters.

    input: (N, C, H, W) or (C, H, W), weight: (K, C/groups, R, S), bias: (K) -> (N, K, P, Q) or
    (K, P, Q), P = (H + 2*padding - dilation*(R - 1) - 1)//stride + 1, Q likewise. One int applies
    to all axes. padding may also be "valid" (none), "same" (P = H, Q = W; stride must be 1), or
    give an axis a pair (before, after): ((0, 1), 2).

    Extensions to PyTorch, fused into the same pass over memory: activation(scale · convolution +
    bias + residual), all differentiable. activation: "none" or "relu"; residual: of the output's
    shape; scale: (K), such as a folded batch normalisation; it multiplies the weights, which are
    fewer than the outputs.
    Raises ValueError if shapes do not fit or the window is larger than the padded input.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", chapter 2.
    """
    op = Conv2dOp.of(*windows("conv2d", 2, weight, stride, padding, dilation, groups), activation)
    return _conv(op, input, weight, bias, residual, scale)


@public("functional")
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    dilation: Number = 1,
    groups: int = 1,
    *,
    activation: str = "none",
    residual: Tensor | None = None,
    scale: Tensor | None = None,
) -> Tensor:
    """Cross-correlation of volumes with a bank of filters.

    input: (N, C, D, H, W) or (C, D, H, W), weight: (K, C/groups, T, R, S), bias: (K) ->
    (N, K, O, P, Q) or (K, O, P, Q). Other arguments, sizes and errors: see conv2d.
    """
    op = Conv3dOp.of(*windows("conv3d", 3, weight, stride, padding, dilation, groups), activation)
    return _conv(op, input, weight, bias, residual, scale)


def _conv(
    op: Convolution,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    scale: Tensor | None,
) -> Tensor:
    if scale is not None:
        if scale.shape != weight.shape[:1]:
            raise ValueError(
                f"{op.name}: scale has shape {tuple(scale.shape)}; it must be "
                f"{tuple(weight.shape[:1])} for weight {tuple(weight.shape)}"
            )
        weight = weight * scale.reshape(-1, *[1] * (op.axes + 1))
    single = input.ndim == op.axes + 1
    if single:
        input = input.unsqueeze(0)
        residual = residual if residual is None else residual.unsqueeze(0)
    y = apply(op, input, weight, bias, residual)
    return y.squeeze(0) if single else y  # type: ignore[no-any-return]
