"""Test cases of the convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gpudl.core.op import Case
from gpudl.ops.conv.base import Size


class Example(NamedTuple):
    """The sizes of a case. None means the usual default; `more`: fields of one operator only."""

    x: Size
    weight: Size
    stride: Size | None = None
    padding: Size | None = None
    dilation: Size | None = None
    groups: int = 1
    bias: bool = True
    extra: Size | None = None
    more: tuple[Any, ...] = ()
    residual: Size | None = None
    dtype: str = "float32"

    def op(self, cls: Any) -> Any:
        axes = cls.axes
        one, none = (1,) * axes, (0,) * axes
        fields = self.stride or one, self.padding or none, self.dilation or one, self.groups
        return cls.of(*fields, self.extra or none, *self.more)

    def make(self, outputs: int) -> Any:
        """make(rng) of a Case: draws x, weight and, if used, a bias of `outputs` elements."""

        def make(rng: np.random.Generator) -> tuple[Any, ...]:
            shapes = [self.x, self.weight, (outputs,) if self.bias else None]
            drawn = [s if s is None else rng.standard_normal(s).astype(np.float32) for s in shapes]
            if self.dtype != "float32":
                drawn = [a if a is None else a.astype(_dtype(self.dtype)) for a in drawn]
            return tuple(drawn)

        return make


def _dtype(name: str) -> Any:
    """ml_dtypes adds bfloat16 to NumPy."""
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def convolutions(cls: Any, examples: dict[str, Example]) -> Iterator[Case]:
    for name, example in examples.items():
        yield Case(name, example.op(cls), _with_residual(example, example.weight[0]))


def _with_residual(example: Example, outputs: int) -> Any:
    make = example.make(outputs)

    def drawn(rng: np.random.Generator) -> tuple[Any, ...]:
        arrays = make(rng)
        if example.residual is None:
            return (*arrays, None)
        residual = rng.standard_normal(example.residual).astype(np.float32)
        return (*arrays, residual.astype(arrays[0].dtype))

    return drawn


CONV1D = {
    "text": Example((2, 6, 19), (9, 6, 3), padding=(1,)),
    "stride 2, two groups": Example((3, 4, 16), (6, 2, 5), stride=(2,), padding=(2,), groups=2),
    "dilation": Example((1, 3, 15), (4, 3, 3), dilation=(4,), bias=False),
    "causal": Example((2, 3, 9), (4, 3, 3), padding=(2,), extra=(-2,)),
    "empty batch": Example((0, 3, 9), (4, 3, 3)),
    "bfloat16": Example((2, 8, 9), (16, 8, 3), padding=(1,), dtype="bfloat16"),
    "float16": Example((2, 5, 9), (6, 5, 3), padding=(1,), dtype="float16"),
}

CONV3D = {
    "3x3x3": Example((2, 3, 4, 5, 6), (7, 3, 3, 3, 3), padding=(1, 1, 1)),
    "ragged": Example(
        (1, 4, 7, 5, 6), (6, 2, 2, 3, 1), stride=(2, 1, 3), padding=(1, 0, 2), dilation=(2, 1, 1),
        groups=2, bias=False,
    ),
    "depthwise": Example((1, 4, 3, 5, 4), (4, 1, 3, 2, 3), padding=(1, 1, 1), groups=4),
    "1x1x1": Example((2, 5, 2, 3, 4), (6, 5, 1, 1, 1)),
    "empty batch": Example((0, 3, 4, 4, 4), (4, 3, 3, 3, 3)),
    "bfloat16": Example((1, 8, 3, 3, 4), (8, 8, 2, 1, 3), padding=(1, 0, 1), dtype="bfloat16"),
    "float16": Example((1, 8, 3, 3, 4), (8, 8, 2, 1, 3), padding=(1, 0, 1), dtype="float16"),
}  # fmt: skip

CONV2D = {
    "LeNet, first layer": Example((1, 1, 14, 13), (6, 1, 5, 5), padding=(2, 2)),
    "LeNet, second layer": Example((1, 6, 10, 9), (16, 6, 5, 5)),
    "3x3": Example((2, 8, 9, 7), (12, 8, 3, 3), padding=(1, 1)),
    "ragged": Example((3, 5, 11, 13), (7, 5, 3, 2), bias=False),
    "one pixel": Example((1, 3, 3, 3), (2, 3, 3, 3)),
    "window as large as x": Example((3, 2, 3, 4), (5, 2, 3, 4)),
    "window as large as x, moved": Example((2, 2, 2, 4), (3, 2, 2, 4), extra=(1, 2)),
    "batch 1": Example((1, 4, 6, 6), (5, 4, 3, 3), padding=(1, 1)),
    "empty batch": Example((0, 3, 5, 5), (4, 3, 3, 3)),
    "1x1": Example((2, 9, 5, 6), (10, 9, 1, 1)),
    "1x1, stride 2": Example((2, 4, 7, 6), (6, 4, 1, 1), stride=(2, 2), bias=False),
    "1x1, padding": Example((1, 2, 3, 3), (3, 2, 1, 1), padding=(1, 2)),
    "stride 2": Example((2, 3, 9, 8), (5, 3, 3, 3), stride=(2, 2), padding=(1, 1)),
    "stride larger than window": Example((2, 3, 11, 10), (4, 3, 2, 2), stride=(3, 4)),
    "asymmetric": Example(
        (2, 3, 10, 8), (4, 3, 2, 4), stride=(1, 3), padding=(0, 2), dilation=(3, 1)
    ),
    "dilation": Example((2, 3, 9, 10), (4, 3, 3, 3), padding=(2, 2), dilation=(2, 2)),
    "stride and dilation": Example(
        (1, 3, 12, 11), (4, 3, 3, 2), stride=(2, 4), padding=(2, 1), dilation=(4, 6)
    ),
    "groups": Example((2, 6, 6, 5), (9, 2, 3, 3), padding=(1, 1), groups=3),
    "depthwise": Example((2, 3, 8, 6), (3, 1, 3, 3), padding=(1, 1), groups=3),
    "depthwise, eight channels": Example(
        (1, 8, 7, 5), (8, 1, 3, 3), stride=(2, 2), padding=(1, 1), groups=8
    ),
    "depthwise, two each": Example((1, 5, 6, 7), (10, 1, 3, 3), stride=(2, 1), groups=5),
    "many channels": Example((1, 20, 4, 3), (132, 20, 3, 3), padding=(1, 1)),
    "long sums in pieces": Example((2, 4, 17, 16), (5, 4, 2, 2), padding=(1, 1)),
    "padding larger than x": Example((1, 2, 2, 3), (3, 2, 3, 3), padding=(4, 3)),
    "even window, same size": Example(
        (2, 2, 5, 6), (3, 2, 2, 4), padding=(0, 1), extra=(1, 1)
    ),
    "more padding before than after": Example(
        (2, 2, 5, 6), (3, 2, 3, 3), padding=(2, 3), extra=(-1, -3)
    ),
    "relu, residual": Example(
        (2, 4, 5, 6), (6, 4, 3, 3), padding=(1, 1), more=("relu",), residual=(2, 6, 5, 6)
    ),
    "residual": Example((2, 4, 5, 6), (6, 4, 1, 1), residual=(2, 6, 5, 6), bias=False),
    "relu, groups": Example((2, 8, 5, 6), (8, 4, 3, 3), groups=2, more=("relu",)),
    "bfloat16": Example(
        (2, 16, 5, 6), (24, 16, 3, 3), padding=(1, 1), residual=(2, 24, 5, 6), more=("relu",),
        dtype="bfloat16",
    ),
    "bfloat16, stride 2": Example(
        (1, 16, 7, 6), (16, 8, 3, 3), stride=(2, 2), padding=(1, 1), groups=2, dtype="bfloat16"
    ),
    "bfloat16, three channels": Example((2, 3, 6, 7), (5, 3, 3, 2), dtype="bfloat16"),
    "bfloat16, 64 channels": Example(
        (2, 64, 6, 5), (72, 64, 3, 3), padding=(1, 1), dtype="bfloat16"
    ),
    "bfloat16, reaching out": Example(
        (2, 72, 5, 6), (8, 72, 2, 3), stride=(1, 2), padding=(3, 2), dilation=(2, 1),
        extra=(-1, 1), dtype="bfloat16",
    ),
    "bfloat16, dilation": Example(
        (1, 8, 7, 9), (72, 8, 3, 2), padding=(1, 0), dilation=(3, 2), dtype="bfloat16"
    ),
    "bfloat16, 1x1": Example((2, 8, 5, 3), (16, 8, 1, 1), dtype="bfloat16"),
    "float16": Example(
        (2, 16, 5, 6), (24, 8, 3, 3), stride=(2, 1), padding=(1, 1), groups=2, more=("relu",),
        dtype="float16",
    ),
    "float16, 1x1": Example((2, 8, 5, 3), (16, 8, 1, 1), dtype="float16"),
}  # fmt: skip

FILTER = np.array([[0, 1, 2], [2, 2, 0], [0, 1, 2]], np.float32)
IMAGE = np.array(
    [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]],
    np.float32,
)


def golden_images(cls: Any) -> Iterator[Case]:
    """Figure 1.1 of Dumoulin and Visin, "A guide to convolution arithmetic for deep learning"; with
    stride 2 computed by hand."""
    expected = {
        ("golden", (1, 1), (0, 0)): [[12, 12, 17], [10, 17, 19], [9, 6, 14]],
        ("golden, stride 2", (2, 2), (1, 1)): [[6, 17, 3], [8, 17, 13], [6, 4, 4]],
    }
    for (name, stride, padding), values in expected.items():
        op = Example((), (), stride, padding).op(cls)
        y = np.array(values, np.float32)[None, None]
        inputs = IMAGE[None, None], FILTER[None, None], None, None
        yield Case(name, op, lambda rng, inputs=inputs: inputs, golden=(y,))


def refused_images(cls: Any) -> Iterator[Case]:
    image = (1, 4, 5, 5)
    refused = {
        "window too large": (Example(image, (2, 4, 6, 3)), r"weight has a window of \(6, 3\)"),
        "dilated window too large": (
            Example(image, (2, 4, 3, 3), dilation=(1, 3)), r"dilation=\(1, 3\), larger than x"
        ),
        "channels": (Example(image, (2, 3, 3, 3)), r"conv2d: x has 4 channels; .* needs 3"),
        "groups": (Example(image, (3, 2, 3, 3), groups=2), r"weight has .*; groups=2 must"),
        "residual": (
            Example(image, (2, 4, 3, 3), residual=(1, 2, 3, 4)),
            r"conv2d: residual has shape .*3, 4\); it must be the output's, \(1, 2, 3, 3\)",
        ),
        "not an image": (Example(image[1:], (2, 4, 3, 3)), r"conv2d: x has shape \(4, 5, 5\)"),
        "empty weight": (Example(image, (2, 4, 0, 3)), r"conv2d: weight has shape \(2, 4, 0, 3\)"),
        "integers": (Example(image, (2, 4, 3, 3), dtype="int64"), r"conv2d: x is int64"),
    }  # fmt: skip
    for name, (example, error) in refused.items():
        make = _with_residual(example, example.weight[0])
        yield Case(name, example.op(cls), make, error=error)
    op, make = Example(image, (2, 4, 3, 3)).op(cls), _with_residual(Example(image, (2, 4, 3, 3)), 3)
    yield Case("bias", op, make, error=r"conv2d: bias has shape \(3,\)")
    missing = lambda rng: (np.ones(image, np.float32), None, None, None)  # noqa: E731
    yield Case("no weight", op, missing, error=r"conv2d: weight is None")


# -------------------------------------------------------------------- transposed


def transposed(cls: Any, examples: dict[str, Example]) -> Iterator[Case]:
    for name, example in examples.items():
        yield _transposed(cls, name, example)


def _transposed(cls: Any, name: str, example: Example, error: str | None = None) -> Case:
    if not example.more:
        example = example._replace(more=((0,) * cls.axes,))
    make = example.make(example.weight[1] * example.groups)
    return Case(name, example.op(cls), make, error=error)


TRANSPOSED1D = {
    "stride 3": Example((2, 5, 7), (5, 4, 4), stride=(3,), padding=(2,), more=((2,),)),
    "groups, dilation": Example((1, 4, 6), (4, 3, 3), dilation=(3,), groups=2, more=((1,),)),
    "bfloat16": Example((1, 8, 5), (8, 8, 3), stride=(2,), dtype="bfloat16"),
    "float16": Example((1, 8, 5), (8, 8, 3), stride=(2,), dtype="float16"),
}

TRANSPOSED2D = {
    "4x4, twice the size": Example((2, 6, 5, 4), (6, 3, 4, 4), stride=(2, 2), padding=(1, 1)),
    "3x3": Example((2, 3, 5, 6), (3, 7, 3, 3), padding=(1, 1)),
    "from one pixel": Example((3, 5, 1, 1), (5, 2, 4, 3)),
    "ragged": Example(
        (2, 4, 3, 5), (4, 2, 2, 3), stride=(3, 2), padding=(0, 1), dilation=(2, 3), groups=2,
        bias=False, more=((2, 1),),
    ),
    "1x1, stride 2": Example((1, 3, 4, 3), (3, 2, 1, 1), stride=(2, 2), more=((1, 0),)),
    "depthwise": Example((2, 4, 4, 5), (4, 1, 3, 3), stride=(2, 1), padding=(1, 0), groups=4),
    "cropped more at the end": Example((1, 2, 4, 4), (2, 3, 3, 3), extra=(1, 2)),
    "empty batch": Example((0, 3, 4, 4), (3, 2, 3, 3), stride=(2, 2)),
    "bfloat16": Example(
        (1, 8, 3, 4), (8, 16, 4, 4), stride=(2, 2), padding=(1, 1), dtype="bfloat16"
    ),
    "float16": Example(
        (1, 8, 3, 4), (8, 16, 4, 4), stride=(2, 2), padding=(1, 1), dtype="float16"
    ),
}  # fmt: skip

TRANSPOSED3D = {
    "stride 2": Example((1, 4, 3, 2, 4), (4, 3, 3, 3, 3), stride=(2, 2, 1), padding=(1, 1, 1)),
    "bfloat16": Example((1, 8, 2, 3, 2), (8, 8, 2, 2, 1), dtype="bfloat16"),
    "float16": Example((1, 8, 2, 3, 2), (8, 8, 2, 2, 1), dtype="float16"),
}


def golden_transposed(cls: Any) -> Iterator[Case]:
    """2x2 with stride 2: each element scales the filter into a square of its own."""
    x = np.array([[1, 2], [3, -1]], np.float32)[None, None]
    weight = np.array([[1, 10], [100, 1000]], np.float32)[None, None]
    bias = np.array([0.5], np.float32)
    y = np.array(
        [[1, 10, 2, 20], [100, 1000, 200, 2000], [3, 30, -1, -10], [300, 3000, -100, -1000]],
        np.float32,
    )
    op = Example((), (), (2, 2), more=((0, 0),)).op(cls)
    yield Case("golden", op, lambda rng: (x, weight, bias), golden=(y[None, None] + 0.5,))


def refused_transposed(cls: Any) -> Iterator[Case]:
    x = (1, 4, 5, 5)
    refused = {
        "channels": (Example(x, (3, 2, 3, 3)), r"transpose2d: x has 4 channels; .* needs 3"),
        "nothing left": (Example(x, (4, 2, 1, 1), padding=(3, 0)), r"padding is \(3, 0\); it"),
        "rank": (Example(x[1:], (4, 2, 3, 3)), r"x has shape \(4, 5, 5\)"),
    }  # fmt: skip
    for name, (example, error) in refused.items():
        yield _transposed(cls, name, example, error)
