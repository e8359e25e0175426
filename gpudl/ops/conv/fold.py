"""unfold and fold (im2col and col2im), pixel_shuffle and pixel_unshuffle."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.elementwise.base import fixed, normal
from gpudl.ops.pool.base import Ints, Size, each_axis


class Blocks(Op):
    """Base of unfold and fold: images (N, C, *size), their blocks as columns (N, C*R*S, P*Q)."""

    size: Ints
    kernel_size: Ints
    stride: Ints
    padding: Ints
    dilation: Ints

    @property
    def counts(self) -> Ints:
        """(P, Q)"""
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                self.size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True
            )
        )

    @property
    def taps(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    def check(self) -> None:
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            value = getattr(self, name)
            require(min(value) >= least, self, name, f"is {value}; it must be at least {least}")
        fits = min(self.counts) > 0
        require(
            fits,
            self,
            "kernel_size",
            f"is {self.kernel_size} with dilation={self.dilation}, larger than an image of "
            f"{self.size} with padding={self.padding}",
        )

    def slices(self) -> Iterator[tuple[Any, ...]]:
        """For each tap, the slices of the padded image that it reads."""
        for tap in np.ndindex(*self.kernel_size):
            yield (
                ...,
                *(
                    slice(t * d, t * d + (count - 1) * s + 1, s)
                    for t, d, s, count in zip(
                        tap, self.dilation, self.stride, self.counts, strict=True
                    )
                ),
            )

    def padded(self, lead: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        """Shape of the padded image, and the slices of the image in it."""
        pairs = list(zip(self.size, self.padding, strict=True))
        return (*lead, *(n + 2 * p for n, p in pairs)), (..., *(slice(p, p + n) for n, p in pairs))

    def to_columns(self, xp: Any, image: Array) -> Array:
        shape, inside = self.padded(image.shape[:2])
        frame = xp.zeros(shape, image.dtype)
        frame[inside] = image
        columns = xp.stack([frame[tap] for tap in self.slices()], axis=2)
        return columns.reshape(len(image), image.shape[1] * self.taps, math.prod(self.counts))

    def to_image(self, xp: Any, columns: Array) -> Array:
        split = columns.reshape(
            len(columns), columns.shape[1] // self.taps, self.taps, *self.counts
        )
        shape, inside = self.padded(split.shape[:2])
        frame = xp.zeros(shape, columns.dtype)
        for number, tap in enumerate(self.slices()):
            frame[tap] += split[:, :, number]
        return frame[inside].copy()


class UnfoldOp(Blocks):
    """y[n, (c,r,s), (p,q)] = x[n, c, p*stride - padding + r*dilation, …], zero outside x."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        fits = len(x.shape) == 4 and x.shape[2:] == self.size
        require(fits, self, "x", f"is {x}; it must be (N, C, {self.size[0]}, {self.size[1]})")
        self.check()
        count = self.counts[0] * self.counts[1]
        return (Spec((x.shape[0], x.shape[1] * self.taps, count), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return (self.to_columns(xp, x),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        return (self.to_image(xp, dys[0]),)

    def reduction(self, x: Spec) -> int:
        return self.taps

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.unfold(
            x, self.kernel_size, self.dilation, self.padding, self.stride
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        op = cls.of((5, 6), (2, 3), (2, 1), (1, 0), (1, 2))
        yield Case("dilated", op, normal((2, 3, 5, 6)))
        rows = cls.of((2, 2), (1, 2), (1, 1), (0, 0), (1, 1))
        image, golden = [[[[1.0, 2.0], [3.0, 4.0]]]], (np.array([[[1, 3], [2, 4]]], np.float32),)
        yield Case("by hand", rows, fixed(image), golden=golden)
        large = cls.of((2, 2), (3, 3), (1, 1), (0, 0), (1, 1))
        yield Case("too large", large, normal((1, 1, 2, 2)), error="unfold: kernel_size is")


class FoldOp(Blocks):
    """The adjoint of UnfoldOp: places the blocks in an image and sums them where they overlap."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        self.check()
        count = self.counts[0] * self.counts[1]
        fits = len(x.shape) == 3 and x.shape[1] % self.taps == 0 and x.shape[2] == count
        require(fits, self, "x", f"is {x}; it must be (N, C*{self.taps}, {count})")
        return (Spec((x.shape[0], x.shape[1] // self.taps, *self.size), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return (self.to_image(xp, x),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        return (self.to_columns(xp, dys[0]),)

    def reduction(self, x: Spec) -> int:
        return self.taps

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.fold(
            x, self.size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        op = cls.of((5, 6), (2, 3), (2, 1), (1, 0), (1, 2))
        yield Case("dilated", op, normal((2, 18, 6)))
        rows = cls.of((1, 3), (1, 2), (1, 1), (0, 0), (1, 1))
        golden = (np.array([[[[1, 5, 4]]]], np.float32),)
        yield Case("by hand", rows, fixed([[[1.0, 2.0], [3.0, 4.0]]]), golden=golden)
        yield Case("count", rows, normal((1, 2, 3)), error=r"fold: x is .*\(N, C\*2, 2\)")


@public("functional")
def unfold(
    input: Tensor, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Tensor:
    """Sliding blocks as columns: (N, C, H, W) -> (N, C*R*S, number of blocks).

    Raises ValueError if the kernel is larger than the padded input.
    """
    numbers = (each_axis("unfold", n, v, 2) for n, v in
               [("kernel_size", kernel_size), ("stride", stride), ("padding", padding),
                ("dilation", dilation)])  # fmt: skip
    return apply(UnfoldOp.of(tuple(input.shape[2:]), *numbers), input)  # type: ignore[no-any-return]


@public("functional")
def fold(
    input: Tensor,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Size = 0,
    stride: Size = 1,
) -> Tensor:
    """Columns (N, C*R*S, number of blocks) -> (N, C, *output_size): the blocks placed in an image
    and summed where they overlap.

    Raises ValueError if the number of blocks does not fit output_size.
    """
    numbers = (each_axis("fold", n, v, 2) for n, v in
               [("output_size", output_size), ("kernel_size", kernel_size), ("stride", stride),
                ("padding", padding), ("dilation", dilation)])  # fmt: skip
    return apply(FoldOp.of(*numbers), input)  # type: ignore[no-any-return]


@public("functional")
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(…, C*r*r, H, W) -> (…, C, H*r, W*r): channel (c, i, j) becomes pixel (i, j) of each r x r
    block. Shi et al. 2016, arXiv:1609.05158, equation 4."""
    r, (*lead, channels, height, width) = upscale_factor, input.shape
    if r < 1 or channels % (r * r):
        raise ValueError(
            f"pixel_shuffle: input has {channels} channels; upscale_factor {r} needs a multiple of "
            f"{r * r}"
        )
    blocks = input.reshape((math.prod(lead), channels // (r * r), r, r, height, width))
    return blocks.permute(0, 1, 4, 2, 5, 3).reshape(
        (*lead, channels // (r * r), height * r, width * r)
    )


@public("functional")
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(…, C, H*r, W*r) -> (…, C*r*r, H, W): the inverse of pixel_shuffle."""
    r, (*lead, channels, height, width) = downscale_factor, input.shape
    if r < 1 or height % r or width % r:
        raise ValueError(
            f"pixel_unshuffle: downscale_factor is {r}; it must divide the height {height} and "
            f"the width {width}"
        )
    blocks = input.reshape((math.prod(lead), channels, height // r, r, width // r, r))
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(
        (*lead, channels * r * r, height // r, width // r)
    )
