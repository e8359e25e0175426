"""Convolution over images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gpudl.op import Case, Cost, Op, Spec, public, require, require_float
from gpudl.ops import conv_im2col as im2col
from gpudl.ops.matmul import gemm_workspace
from gpudl.tensor import Tensor, apply

Pair = tuple[int, int]
FEW_CHANNELS = 16  # a group with fewer is better off without a matrix product
MAX_COLUMNS = 1 << 24  # elements of the matrix of columns at a time, unless one image has more


class Conv2dOp(Op):
    """y[n,k,p,q] = bias[k] + sum over c, r, s of weight[k,c,r,s] * x[n, c', h, w],
    h = p*stride - padding + r*dilation, w likewise along the width, and zero outside x.

    With groups, output channel k belongs to group g = k // (K/groups) and c' = g*(C/groups) + c.
    x: (N, C, H, W), weight: (K, C/groups, R, S), bias: (K) -> y: (N, K, P, Q).
    extra: more zeros below and to the right of x ("same" with an even window needs them).
    """

    inputs = ("x", "weight", "bias?")
    saves = ("x", "weight")
    kernels = ("im2col", "direct")
    cpu = ("im2col",)

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    extra: Pair = (0, 0)

    def infer(self, x: Spec, weight: Spec, bias: Spec | None = None) -> tuple[Spec, ...]:
        require_float(self, x=x, weight=weight, bias=bias)
        self._check_fields()
        require(len(x.shape) == 4, self, "x", f"has shape {x.shape}; it must be (N, C, H, W)")
        require(
            len(weight.shape) == 4 and min(weight.shape) > 0,
            self,
            "weight",
            f"has shape {weight.shape}; it must be (K, C/groups, R, S), none of them 0",
        )
        n, c = x.shape[:2]
        k, c_group = weight.shape[:2]
        require(
            c == c_group * self.groups,
            self,
            "x",
            f"has {c} channels, but weight {weight.shape} with groups={self.groups} takes "
            f"{c_group * self.groups}",
        )
        require(
            k % self.groups == 0,
            self,
            "weight",
            f"has {k} output channels, which groups={self.groups} does not divide",
        )
        require(
            bias is None or bias.shape == (k,),
            self,
            "bias",
            f"has shape {bias and bias.shape}; weight {weight.shape} needs ({k},)",
        )
        p, q = self.output_size(x.shape, weight.shape)
        require(
            p > 0 and q > 0,
            self,
            "weight",
            f"has a window of {weight.shape[2:]} with dilation={self.dilation}, larger than x "
            f"{x.shape} with padding={self.padding}; pad more or take a smaller window",
        )
        return (Spec((n, k, p, q), x.dtype),)

    def _check_fields(self) -> None:
        for name, least in (("stride", 1), ("dilation", 1), ("padding", 0)):
            value = getattr(self, name)
            require(min(value) >= least, self, name, f"is {value}; it must be at least {least}")
        require(self.groups >= 1, self, "groups", f"is {self.groups}; it must be at least 1")

    def output_size(self, x: tuple[int, ...], weight: tuple[int, ...]) -> Pair:
        """(P, Q) for the shapes of x and weight."""
        p, q = (
            (
                x[i + 2]
                + 2 * self.padding[i]
                + self.extra[i]
                - self.dilation[i] * (weight[i + 2] - 1)
                - 1
            )
            // self.stride[i]
            + 1
            for i in (0, 1)
        )
        return p, q

    # ------------------------------------------------------------------ definition

    def forward(self, xp: Any, x: Any, weight: Any, bias: Any = None) -> tuple[Any, ...]:
        p, q = self.output_size(x.shape, weight.shape)
        grouped = self._per_group(weight)
        y = xp.zeros((len(x), self.groups, grouped.shape[1], p, q), x.dtype)
        padded = self._pad(xp, x)
        for r, s in np.ndindex(weight.shape[2:]):
            y += xp.einsum("gkc,ngcpq->ngkpq", grouped[..., r, s], self._tap(padded, r, s, (p, q)))
        y = y.reshape(len(x), len(weight), p, q)
        return (y if bias is None else y + bias[:, None, None],)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x, weight = saved.x, saved.weight
        (dy,) = dys
        p, q = dy.shape[2:]
        dy_grouped = dy.reshape(len(x), self.groups, len(weight) // self.groups, p, q)
        padded = self._pad(xp, x)
        dx = dw = db = None
        if needs[0]:
            grouped = self._per_group(weight)
            dpadded = xp.zeros(padded.shape, x.dtype)
            for r, s in np.ndindex(weight.shape[2:]):
                tap = self._tap(dpadded, r, s, (p, q))
                tap += xp.einsum("gkc,ngkpq->ngcpq", grouped[..., r, s], dy_grouped)
            dx = self._crop(dpadded, x.shape)
        if needs[1]:
            dw = xp.zeros(weight.shape, weight.dtype)
            for r, s in np.ndindex(weight.shape[2:]):
                tap = self._tap(padded, r, s, (p, q))
                taken = xp.einsum("ngkpq,ngcpq->gkc", dy_grouped, tap)
                dw[:, :, r, s] = taken.reshape(weight.shape[:2])
        if needs[2]:
            db = dy.sum((0, 2, 3))
        return dx, dw, db

    def _per_group(self, weight: Any) -> Any:
        """(K, C/groups, R, S) -> (groups, K/groups, C/groups, R, S)."""
        return weight.reshape(self.groups, -1, *weight.shape[1:])

    def _pad(self, xp: Any, x: Any) -> Any:
        (h, w), (more_h, more_w) = self.padding, self.extra
        if not (h or w or more_h or more_w):
            return x
        n, c, height, width = x.shape
        padded = xp.zeros((n, c, height + 2 * h + more_h, width + 2 * w + more_w), x.dtype)
        padded[:, :, h : h + height, w : w + width] = x
        return padded

    def _crop(self, padded: Any, shape: tuple[int, ...]) -> Any:
        (h, w), (_, _, height, width) = self.padding, shape
        return padded[:, :, h : h + height, w : w + width]

    def _tap(self, padded: Any, r: int, s: int, size: Pair) -> Any:
        """What window element (r, s) meets in padded x, for each output pixel: a view of shape
        (N, groups, C/groups, P, Q)."""
        (p, q), (stride_h, stride_w) = size, self.stride
        top, left = r * self.dilation[0], s * self.dilation[1]
        n, c, height, width = padded.shape
        grouped = padded.reshape(n, self.groups, c // self.groups, height, width)
        rows = slice(top, top + (p - 1) * stride_h + 1, stride_h)
        return grouped[..., rows, left : left + (q - 1) * stride_w + 1 : stride_w]

    # ------------------------------------------------------------------ the faster NumPy form

    def forward_im2col(self, xp: Any, x: Any, weight: Any, bias: Any = None) -> tuple[Any, ...]:
        return (im2col.forward(self, x, weight, bias),)

    def backward_im2col(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        (dy,), (x, weight) = dys, saved[:2]
        return (
            im2col.data_gradient(self, dy, weight, x.shape) if needs[0] else None,
            im2col.weight_gradient(self, dy, x, weight) if needs[1] else None,
            im2col.bias_gradient(dy) if needs[2] else None,
        )

    # ------------------------------------------------------------------ kernels

    def supports(self, algorithm: str, *specs: Any) -> bool:
        """Kernels index within an image, its columns, and the weights, by 32 bits."""
        x, weight = specs[:2]
        (y,) = self.infer_cached(specs)
        largest = max(weight.size, *(s.size // max(1, s.shape[0]) for s in (x, y)))
        if algorithm == "im2col":
            largest = max(largest, self._columns_of_image(x, weight))
        return bool(largest < 2**31)

    def prefer(
        self, device: str, precision: str, algorithms: tuple[str, ...], *specs: Any
    ) -> tuple[str, ...]:
        """With few channels in a group most of a matrix product's tile is empty."""
        k, c_group = specs[1].shape[:2]
        few = min(k // self.groups, c_group) < FEW_CHANNELS
        return tuple(sorted(algorithms, key="direct".__eq__, reverse=few))

    def workspace(self, direction: str, algorithm: str, *specs: Any) -> int:
        x: Spec = specs[0]
        weight: Spec = specs[1]
        n, k, p, q = self.infer_cached(specs)[0].shape
        pixels, weights = n * p * q, weight.size
        if algorithm == "direct":
            return 0 if direction == "forward" else gradient_splits(pixels, weights) * weights
        image = self._columns_of_image(x, weight)
        images = max(1, min(n, MAX_COLUMNS // image))
        columns = 0 if self._is_pointwise(x.shape, weight.shape) else images * image
        if direction == "forward":
            return columns
        group_k = k // self.groups
        partial = gemm_workspace(group_k, weights // k, images * p * q, self.groups)
        return max(columns + partial, k * max(1, min(-(-pixels // 256), 128)))

    def _columns_of_image(self, x: Spec, weight: Spec) -> int:
        p, q = self.output_size(x.shape, weight.shape)
        return p * q * self.groups * Spec(weight.shape[1:], weight.dtype).size

    def _is_pointwise(self, x: tuple[int, ...], weight: tuple[int, ...]) -> bool:
        """A 1x1 window that meets every pixel once: the columns are x itself."""
        plain = self.stride == (1, 1) and self.output_size(x, weight) == x[2:]
        return weight[2:] == (1, 1) and plain

    # ------------------------------------------------------------------ for tests and benchmarks

    def cost(self, x: Spec, weight: Spec, bias: Spec | None = None) -> Cost:
        (y,) = self.infer(x, weight, bias)
        present = [s for s in (x, weight, bias, y) if s is not None]
        flops = 2 * y.size * Spec(weight.shape[1:], weight.dtype).size
        return Cost(flops, sum(s.size * s.dtype.itemsize for s in present), flops // 2)

    def reduction(self, x: Spec, weight: Spec, bias: Spec | None = None) -> int:
        n, k, p, q = self.infer(x, weight, bias)[0].shape
        _, c_group, r, s = weight.shape
        return max(c_group * r * s, k // self.groups * r * s, n * p * q)

    def twin(self, torch: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        if any(self.extra):
            x = torch.nn.functional.pad(x, (0, self.extra[1], 0, self.extra[0]))
        return torch.nn.functional.conv2d(
            x, weight, bias, self.stride, self.padding, self.dilation, self.groups
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from golden_cases()
        for name, g in GEOMETRIES.items():
            yield Case(name, g.op, g.make)
        yield from refused_cases()


def gradient_splits(pixels: int, weights: int) -> int:
    """Into how many parts the pixels of a weight gradient are cut, which are summed apart: enough
    for all processors of a GPU (512 blocks of 256 sums), none smaller than 256 pixels."""
    return max(1, min(-(-pixels // 256), 512 * 256 // weights, 4096))


class Geometry(NamedTuple):
    """The sizes of a test case."""

    x: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    extra: Pair = (0, 0)

    @property
    def op(self) -> Conv2dOp:
        fields = self.stride, self.padding, self.dilation, self.groups, self.extra
        op: Conv2dOp = Conv2dOp.of(*fields)
        return op

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        def normal(*shape: int) -> Any:
            return rng.standard_normal(shape).astype(np.float32)

        bias = normal(self.weight[0]) if self.bias else None
        return normal(*self.x), normal(*self.weight), bias


GEOMETRIES = {
    "LeNet, first layer": Geometry((2, 1, 28, 28), (6, 1, 5, 5), padding=(2, 2)),
    "LeNet, second layer": Geometry((2, 6, 14, 14), (16, 6, 5, 5)),
    "3x3": Geometry((2, 8, 9, 7), (12, 8, 3, 3), padding=(1, 1)),
    "ragged": Geometry((3, 5, 11, 13), (7, 5, 3, 2), bias=False),
    "one pixel": Geometry((1, 3, 3, 3), (2, 3, 3, 3)),
    "batch 1": Geometry((1, 4, 6, 6), (5, 4, 3, 3), padding=(1, 1)),
    "empty batch": Geometry((0, 3, 5, 5), (4, 3, 3, 3)),
    "1x1": Geometry((2, 9, 5, 6), (10, 9, 1, 1)),
    "1x1, stride 2": Geometry((2, 4, 7, 6), (6, 4, 1, 1), stride=(2, 2), bias=False),
    "1x1, padding": Geometry((1, 2, 3, 3), (3, 2, 1, 1), padding=(1, 2)),
    "stride 2": Geometry((2, 3, 9, 8), (5, 3, 3, 3), stride=(2, 2), padding=(1, 1)),
    "stride larger than window": Geometry((2, 3, 11, 10), (4, 3, 2, 2), stride=(3, 4)),
    "asymmetric": Geometry(
        (2, 3, 10, 8), (4, 3, 2, 4), stride=(1, 3), padding=(0, 2), dilation=(3, 1)
    ),
    "dilation": Geometry((2, 3, 9, 10), (4, 3, 3, 3), padding=(2, 2), dilation=(2, 2)),
    "groups": Geometry((2, 6, 6, 5), (9, 2, 3, 3), padding=(1, 1), groups=3),
    "depthwise": Geometry((2, 7, 8, 6), (7, 1, 3, 3), padding=(1, 1), groups=7),
    "depthwise, two each": Geometry((1, 5, 6, 7), (10, 1, 3, 3), stride=(2, 1), groups=5),
    "many channels": Geometry((1, 70, 4, 4), (66, 70, 3, 3), padding=(1, 1)),
    "padding larger than x": Geometry((1, 2, 2, 3), (3, 2, 3, 3), padding=(4, 3)),
    "even window, same size": Geometry(
        (2, 2, 5, 6), (3, 2, 2, 4), padding=(0, 1), extra=(1, 1)
    ),
}  # fmt: skip

FILTER = np.array([[0, 1, 2], [2, 2, 0], [0, 1, 2]], np.float32)
IMAGE = np.array(
    [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]],
    np.float32,
)


def golden_cases() -> Iterator[Case]:
    """Figure 1.1 of Dumoulin and Visin, "A guide to convolution arithmetic for deep learning"; the
    second one computed by hand."""
    expected = {
        ("golden", (1, 1), (0, 0)): [[12, 12, 17], [10, 17, 19], [9, 6, 14]],
        ("golden, stride 2", (2, 2), (1, 1)): [[6, 17, 3], [8, 17, 13], [6, 4, 4]],
    }
    for (name, stride, padding), values in expected.items():
        op = Conv2dOp.of(stride, padding, (1, 1), 1)
        y = np.array(values, np.float32)[None, None]
        yield Case(name, op, lambda rng: (IMAGE[None, None], FILTER[None, None], None), golden=(y,))


def refused_cases() -> Iterator[Case]:
    image = (1, 4, 5, 5)
    refused = {
        "window too large": (Geometry(image, (2, 4, 6, 3)), r"weight has a window of \(6, 3\)"),
        "dilated window too large": (
            Geometry(image, (2, 4, 3, 3), dilation=(1, 3)), r"dilation=\(1, 3\), larger than x"
        ),
        "channels": (Geometry(image, (2, 3, 3, 3)), r"conv2d: x has 4 channels, but .* takes 3"),
        "groups": (Geometry(image, (3, 2, 3, 3), groups=2), r"weight has 3 output channels, which"),
        "no groups": (Geometry(image, (3, 2, 3, 3), groups=0), r"conv2d: groups is 0"),
        "stride": (Geometry(image, (3, 4, 3, 3), stride=(0, 1)), r"conv2d: stride is \(0, 1\)"),
        "padding": (Geometry(image, (3, 4, 3, 3), padding=(0, -1)), r"padding is \(0, -1\)"),
    }  # fmt: skip
    for name, (g, error) in refused.items():
        yield Case(name, g.op, g.make, error=error)
    good = Geometry(image, (2, 4, 3, 3))
    x, weight, bias = good.make(np.random.default_rng(0))
    arrays = {
        "not an image": ((x[0], weight, bias), r"conv2d: x has shape \(4, 5, 5\)"),
        "bias": ((x, weight, np.ones(3, np.float32)), r"conv2d: bias has shape \(3,\)"),
        "empty weight": ((x, weight[:, :, :0], bias), r"conv2d: weight has shape \(2, 4, 0, 3\)"),
        "integers": ((x.astype(int), weight, bias), r"conv2d: x is int64"),
        "no weight": ((x, None, bias), r"conv2d: weight is None"),
    }
    for name, (inputs, error) in arrays.items():
        yield Case(name, good.op, lambda rng, inputs=inputs: inputs, error=error)


@public("functional")
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of images with a bank of filters.

    input: (N, C, H, W), weight: (K, C/groups, R, S), bias: (K) -> (N, K, P, Q),
    P = (H + 2*padding - dilation*(R - 1) - 1)//stride + 1, Q likewise. One int stands for both
    axes; padding may also be "valid" (none) or "same" (P = H, Q = W; stride must be 1).
    Raises ValueError if shapes do not fit or the window is larger than the padded input.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", chapter 2.
    """
    stride, dilation = pair("stride", stride), pair("dilation", dilation)
    extra = (0, 0)
    if padding == "same":
        padding, extra = same_padding(weight.shape, stride, dilation)
    elif padding == "valid":
        padding = (0, 0)
    op = Conv2dOp.of(stride, pair("padding", padding), dilation, int(groups), extra)
    return apply(op, input, weight, bias)  # type: ignore[no-any-return]


def pair(name: str, value: Any) -> Pair:
    """One int for both axes, or one for each."""
    if isinstance(value, str):
        raise ValueError(
            f'conv2d: {name} is {value!r}; it must be an int, a pair of ints, "same" or "valid"'
        )
    both = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(both) != 2 or any(int(v) != v for v in both):
        raise ValueError(f"conv2d: {name} is {value!r}; it must be an int or a pair of ints")
    return int(both[0]), int(both[1])


def same_padding(weight: tuple[int, ...], stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """(padding, extra) with which the output is as large as the input. Where the total is odd the
    larger part goes below and to the right, as in PyTorch."""
    if stride != (1, 1):
        raise ValueError(
            f'conv2d: padding="same" needs stride 1, got stride={stride}; give the padding as ints'
        )
    total = [d * (extent - 1) for d, extent in zip(dilation, weight[2:], strict=True)]
    return (total[0] // 2, total[1] // 2), (total[0] % 2, total[1] % 2)
