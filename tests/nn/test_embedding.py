"""Embedding: PyTorch's arguments and gradients, and refused arguments."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.nn import functional as F
from tests.ops.harness import native_devices


@pytest.mark.parametrize("device", ["cpu", *native_devices()])
def test_gradients_of_repeated_rows_add_up_and_padding_has_none(device):
    gpudl.manual_seed(0)
    layer = nn.Embedding(6, 4, padding_idx=-2).to(device)
    assert not np.asarray(layer.weight)[4].any()
    y = layer(Tensor(np.array([[1, 4, 1], [5, 1, 0]]), device=device))
    assert y.shape == (2, 3, 4)
    y.sum().backward()
    np.testing.assert_array_equal(np.asarray(layer.weight.grad)[:, 0], [1, 3, 0, 0, 0, 1])


def test_unsupported_options_are_refused():
    index = Tensor(np.array([1]))
    for name, value in {"max_norm": 1.0, "sparse": True, "scale_grad_by_freq": True}.items():
        with pytest.raises(ValueError, match=f"embedding: {name} is not supported"):
            nn.Embedding(3, 2, **{name: value})(index)
    with pytest.raises(ValueError, match="Embedding: padding_idx is 3"):
        nn.Embedding(3, 2, padding_idx=3)


@pytest.mark.parametrize("device", ["cpu", *native_devices()])
@pytest.mark.parametrize("bad", [-1, 3])
def test_an_index_out_of_range(device, bad):
    weight = Tensor(np.ones((3, 2), np.float32), device=device)
    index = Tensor(np.array([0, bad]), device=device)
    if device == "cuda":  # an error would need a wait for the device
        assert np.isnan(np.asarray(F.embedding(index, weight))[1]).all()
    else:
        with pytest.raises(IndexError, match=f"embedding: index is {bad}; weight has 3 rows"):
            F.embedding(index, weight)
