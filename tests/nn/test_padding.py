"""Padding and upsampling layers: PyTorch's names, arguments and values."""

from __future__ import annotations

import numpy as np
import pytest

from gpudl import nn
from gpudl.autograd.tensor import Tensor


@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("ConstantPad1d", (2, 3, 5), ((1, -2), 0.5)),
        ("ConstantPad2d", (2, 3, 4, 5), (1, -1.5)),
        ("ZeroPad2d", (3, 4, 5), ((0, 1, 2, 0),)),
        ("ReflectionPad2d", (2, 3, 4, 5), ((1, 3, 2, 0),)),
        ("ReflectionPad1d", (3, 5), (2,)),
        ("ReplicationPad3d", (1, 2, 3, 2, 3), ((1, 2, 0, 1, 3, 0),)),
        ("CircularPad2d", (2, 3, 4, 5), (2,)),
        ("PixelShuffle", (2, 8, 3, 4), (2,)),
        ("PixelUnshuffle", (3, 6, 4), (2,)),
        ("Unfold", (2, 3, 5, 6), ((2, 3), 1, (1, 0), 2)),
        ("Fold", (2, 12, 15), ((6, 4), 2)),
        ("UpsamplingNearest2d", (2, 3, 4, 5), (None, 2)),
        ("Upsample", (2, 3, 7), (None, 1.7)),
        ("Upsample", (2, 3, 4, 6), ((3, 2), None, "area")),
    ],
    ids=str,
)
def test_layers_agree_with_pytorch(name, shape, arguments):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    got = getattr(nn, name)(*arguments)(Tensor(x))
    want = getattr(torch.nn, name)(*arguments)(torch.tensor(x))
    np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_wrong_numbers_of_sides_and_axes_are_refused():
    with pytest.raises(ValueError, match=r"ZeroPad2d: padding is \(1, 2\)"):
        nn.ZeroPad2d((1, 2))
    with pytest.raises(ValueError, match="ReflectionPad1d: input has shape"):
        nn.ReflectionPad1d(1)(Tensor(np.zeros((1, 2, 3, 4), np.float32)))
