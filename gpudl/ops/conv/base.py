"""Shared by convolution and transposed convolution: parameters, sizes, the NumPy definition."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gpudl.core.launcher import Launcher, Launchers
from gpudl.core.machine import Machine
from gpudl.core.op import Array, Op, Spec, require

Size = tuple[int, ...]  # one number for each spatial axis
Triple = tuple[int, int, int]
ACTIVATIONS = ("none", "relu")  # numbered as in csrc/ops/conv/conv_export.h
FEW_CHANNELS = 16  # groups with fewer run faster without a matrix product
MOST_ROWS = 256  # of the largest tile: the last one may extend this far past the matrix
LARGEST = 2**31 - 1  # kernels use 32-bit indices within an image and the weights
SHAPES = {1: "(N, C, W)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}
WINDOWS = {1: "S", 2: "R, S", 3: "T, R, S"}


class Geometry(NamedTuple):
    """Placement of windows over an image with axes (D, H, W); missing axes have extent 1.

    Along an axis, output o reads the image at o*stride - padding + tap*dilation for every tap of
    the window. There are `padding` zeros before the image and `padding + extra` after it.
    """

    stride: Triple
    padding: Triple
    dilation: Triple
    groups: int
    extra: Triple

    def outputs(self, image: Size, window: Size) -> Size:
        """Number of window positions along each axis."""
        return tuple(
            (size + 2 * padding + extra - dilation * (taps - 1) - 1) // stride + 1
            for size, taps, stride, padding, dilation, extra in zip(
                image, window, self.stride, self.padding, self.dilation, self.extra, strict=True
            )
        )


def triple(size: Size, missing: int) -> Triple:
    return (missing,) * (3 - len(size)) + tuple(size)  # type: ignore[return-value]


class Windowed(Op):
    """Base of all convolutions: windows of weights over `axes` spatial axes.

    extra: along each axis, how many more zeros pad x at its end than at its start.
    """

    axes: ClassVar[int]
    kernels: ClassVar[tuple[str, ...]] = (
        "im2col",
        "direct",
        "implicit_gemm",
        "implicit_mma_tf32x3",
        "implicit_mma_tf32",
        "implicit_mma_bf16",
        "implicit_wgmma_bf16",
        "implicit_mma_f16",
    )
    cpu = ("im2col",)

    stride: Size
    padding: Size
    dilation: Size
    groups: int
    extra: Size

    def check_fields(self) -> None:
        for name, least in (("stride", 1), ("dilation", 1), ("padding", 0)):
            value = getattr(self, name)
            require(
                len(value) == self.axes, self, name, f"is {value}; it must have length {self.axes}"
            )
            require(min(value) >= least, self, name, f"is {value}; it must be at least {least}")
        after = tuple(p + e for p, e in zip(self.padding, self.extra, strict=True))
        require(
            min(after) >= 0, self, "padding", f"is {after} at the end of x; it must be at least 0"
        )
        require(self.groups >= 1, self, "groups", f"is {self.groups}; it must be at least 1")

    @cached_property
    def geometry(self) -> Geometry:
        return Geometry(
            triple(self.stride, 1),
            triple(self.padding, 0),
            triple(self.dilation, 1),
            self.groups,
            triple(self.extra, 0),
        )

    def parameters(self) -> dict[str, Any]:
        """The kernels' arguments, as triples: kernels always have three spatial axes."""
        stride, padding, dilation, groups, _ = self.geometry
        return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def __repr__(self) -> str:
        values = zip(self.fields, self._values(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in values)})"

    def check_arrays(self, x: Spec, weight: Spec, channels: int, filters: int) -> None:
        """Check the rank and channels of x, and the groups. channels: those that weight and groups
        require of x; filters: the first extent of weight, which groups must divide."""
        rank = self.axes + 2
        require(
            len(x.shape) == rank, self, "x", f"has shape {x.shape}; it must be {SHAPES[self.axes]}"
        )
        require(
            x.shape[1] == channels,
            self,
            "x",
            f"has {x.shape[1]} channels; weight {weight.shape} with groups={self.groups} needs "
            f"{channels}",
        )
        require(
            filters % self.groups == 0,
            self,
            "weight",
            f"has shape {weight.shape}; groups={self.groups} must divide its first axis",
        )

    def check_weight(self, weight: Spec, named: str) -> None:
        require(
            len(weight.shape) == self.axes + 2 and min(weight.shape) > 0,
            self,
            "weight",
            f"has shape {weight.shape}; it must be ({named}, {WINDOWS[self.axes]}), none of them 0",
        )

    def check_padded(self, argument: str, image: Size) -> None:
        """Kernels index the padded image with 32-bit numbers."""
        padded = [
            size + 2 * padding + extra
            for size, padding, extra in zip(image[2:], self.padding, self.extra, strict=True)
        ]
        require(
            max(padded) <= LARGEST,
            self,
            argument,
            f"and its padding extend over {max(padded)} elements; at most 2^31 - 1 are supported",
        )

    def check_bias(self, bias: Spec | None, outputs: int, weight: Spec) -> None:
        require(
            bias is None or bias.shape == (outputs,),
            self,
            "bias",
            f"has shape {bias and bias.shape}; weight {weight.shape} needs ({outputs},)",
        )

    # ------------------------------------------------------------------ kernels

    def image_and_output(self, *specs: Any) -> tuple[Spec, Spec]:
        """Image and output of the convolution that the kernels compute; transposed convolution
        swaps them."""
        raise TypeError(f"{type(self).__name__} declares no image_and_output")

    def supports(self, kernel: Launcher, *specs: Any) -> bool:
        """Whether 32-bit indices suffice within an image, its columns and the weights."""
        weight: Spec = specs[1]
        image, output = self.image_and_output(*specs)
        of_one = [s.size // max(1, s.shape[0]) for s in (image, output)]
        if kernel.computes.unit == "wgmma":  # TMA needs rows of channels aligned to 16 bytes
            rows = math.gcd(image.shape[1], output.shape[1]) // self.groups % 8 == 0
            if not rows or (self.groups > 1 and not self.is_pointwise(*specs)):
                return False
        if kernel.algorithm not in ("direct", "im2col"):  # rows: all pixels of the batch
            of_one += [s.size // max(1, s.shape[1]) + MOST_ROWS for s in (image, output)]
        if kernel.algorithm == "im2col":
            of_one.append(self.columns_of_image(*specs))
        return bool(max(weight.size, *of_one) <= LARGEST)

    def prefer(
        self, machine: Machine | None, precision: str, kernels: Launchers, *specs: Any
    ) -> Launchers:
        """On a GPU ranked by predicted time, TF32 last unless the precision allows it. The emulator
        prefers "direct" for groups of few channels, where most of a matrix tile is padding."""
        if machine is None:
            k, c_group = specs[1].shape[:2]
            few = min(k // self.groups, c_group) < FEW_CHANNELS
            return tuple(sorted(kernels, key=lambda k: k.algorithm == "direct", reverse=few))

        def rank(kernel: Launcher) -> float:
            return self.predict(machine, kernel, *specs)

        exact = precision == "highest"
        fit = [k for k in kernels if not (exact and k.computes.rounds == "tf32")]
        return (*sorted(fit, key=rank), *(k for k in kernels if k not in fit))

    def predict(self, machine: Machine, kernel: Launcher, *specs: Any) -> float:
        from gpudl.ops.conv import predict

        return predict.seconds(self, machine, kernel, specs)

    def is_pointwise(self, *specs: Any) -> bool:
        """Whether windows of one element read every element of the image exactly once."""
        image, output = self.image_and_output(*specs)
        ones = (*specs[1].shape[2:], *self.stride)
        return max(ones) == 1 and max(self.padding) == 0 and image.shape[2:] == output.shape[2:]

    def columns_of_image(self, *specs: Any) -> int:
        """Elements of one image's column matrix."""
        output = self.image_and_output(*specs)[1]
        return int(math.prod((*output.shape[2:], self.groups, *specs[1].shape[1:])))

    def reduction(self, *specs: Any) -> int:
        output, weight = self.image_and_output(*specs)[1], specs[1].shape
        taps, filters = math.prod(weight[2:]), weight[0] // self.groups
        pixels = output.size // max(1, output.shape[1])
        return int(max(weight[1] * taps, filters * taps, pixels))


# -------------------------------------------------------------------- arrays


def volume(x: Array) -> Array:
    """(N, C, W) or (N, C, H, W) as (N, C, D, H, W): missing axes get extent 1."""
    return x if x is None else x.reshape(*x.shape[:2], *[1] * (5 - x.ndim), *x.shape[2:])


def flat(x: Array, axes: int) -> Array:
    """The inverse of `volume`."""
    return x if x is None else x.reshape(*x.shape[:2], *x.shape[5 - axes :])


def activate(xp: Any, activation: str, y: Array) -> None:
    """Apply the activation in place."""
    if activation == "relu":
        xp.maximum(y, 0, out=y)


def before_activation(xp: Any, activation: str, dy: Array, y: Array) -> Array:
    """The gradient of the activation's argument."""
    if activation == "relu":
        return xp.where(y <= 0, 0, dy).astype(dy.dtype, copy=False)
    return dy


# -------------------------------------------------------------------- the definition, any rank


def wide(x: Array) -> Array:
    """16-bit floats as float32, to sum in."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def per_group(weight: Array, groups: int) -> Array:
    """(K, C/groups, …) -> (groups, K/groups, C/groups, …)."""
    return weight.reshape(groups, len(weight) // groups, *weight.shape[1:])


def images_per_group(images: Array, groups: int) -> Array:
    """(N, C, …) -> (N, groups, C/groups, …)."""
    return images.reshape(len(images), groups, images.shape[1] // groups, *images.shape[2:])


def frame(op: Windowed, image: Size, outputs: Size, window: Size) -> tuple[Size, Any]:
    """Shape of the image padded as far as windows reach, and the slices of the image in it."""
    sizes, places = [], []
    for axis, (size, count, taps) in enumerate(zip(image[2:], outputs, window, strict=True)):
        padding = op.padding[axis]
        reach = (count - 1) * op.stride[axis] + op.dilation[axis] * (taps - 1) + 1
        sizes.append(max(padding + size, reach))
        places.append(slice(padding, padding + size))
    return (*image[:2], *sizes), (..., *places)


def framed(xp: Any, op: Windowed, image: Array, outputs: Size, window: Size) -> Array:
    shape, inside = frame(op, image.shape, outputs, window)
    padded = xp.zeros(shape, image.dtype)
    padded[inside] = image
    return images_per_group(padded, op.groups)


def tap(op: Windowed, padded: Array, at: Size, outputs: Size) -> Array:
    """View of the elements of `padded` (N, groups, C/groups, …) that tap `at` reads, per output."""
    places = zip(at, op.dilation, op.stride, outputs, strict=True)
    met = (..., *(slice(i * d, i * d + (n - 1) * s + 1, s) for i, d, s, n in places))
    return padded[met]


def correlate(xp: Any, op: Windowed, image: Array, weight: Array, outputs: Size) -> Array:
    """y[n,k,o] = sum over the group's channels c and all taps of weight[k,c,tap] · image[n,c,i],
    i = o*stride - padding + tap*dilation."""
    grouped = per_group(weight, op.groups)
    y = xp.zeros((len(image), *grouped.shape[:2], *outputs), image.dtype)
    padded = framed(xp, op, image, outputs, weight.shape[2:])
    for at in np.ndindex(weight.shape[2:]):
        of_tap = np.index_exp[...] + at
        y += xp.einsum("gkc,ngc...->ngk...", grouped[of_tap], tap(op, padded, at, outputs))
    return y.reshape(len(image), len(weight), *outputs)


def spread(xp: Any, op: Windowed, dy: Array, weight: Array, image: Size) -> Array:
    """The gradient of `correlate` with respect to an image of this shape."""
    outputs, grouped = dy.shape[2:], per_group(weight, op.groups)
    shape, inside = frame(op, image, outputs, weight.shape[2:])
    padded = xp.zeros(shape, dy.dtype)
    for at in np.ndindex(weight.shape[2:]):
        of_tap = np.index_exp[...] + at
        met = tap(op, images_per_group(padded, op.groups), at, outputs)
        met += xp.einsum("gkc,ngk...->ngc...", grouped[of_tap], images_per_group(dy, op.groups))
    return padded[inside]


def weight_gradient(xp: Any, op: Windowed, dy: Array, image: Array, weight: Array) -> Array:
    """The gradient of `correlate` with respect to its weights."""
    outputs = dy.shape[2:]
    dw = xp.zeros(weight.shape, dy.dtype)
    padded = framed(xp, op, image, outputs, weight.shape[2:])
    dy = images_per_group(dy.reshape(*dy.shape[:2], math.prod(outputs)), op.groups)
    for at in np.ndindex(weight.shape[2:]):
        met = tap(op, padded, at, outputs)
        met = met.reshape(*met.shape[:3], math.prod(outputs))
        of_tap = np.index_exp[...] + at
        dw[of_tap] = xp.einsum("ngkp,ngcp->gkc", dy, met).reshape(weight.shape[:2])
    return dw
