"""Embedding: PyTorch's arguments and gradients, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.nn import functional as F
from tests.ops.harness import native_devices


@pytest.mark.parametrize("where", ["cpu", *native_devices()])
def test_gradients_of_repeated_rows_add_up_and_padding_has_none(where):
    gpudl.manual_seed(0)
    layer = nn.Embedding(6, 4, padding_idx=-2).to(where)
    assert not np.asarray(layer.weight)[4].any()
    y = layer(Tensor(np.array([[1, 4, 1], [5, 1, 0]]), device=where))
    assert y.shape == (2, 3, 4)
    y.sum().backward()
    np.testing.assert_array_equal(np.asarray(layer.weight.grad)[:, 0], [1, 3, 0, 0, 0, 1])


def test_what_is_not_offered_is_refused():
    index = Tensor(np.array([1]))
    for name, value in {"max_norm": 1.0, "sparse": True, "scale_grad_by_freq": True}.items():
        with pytest.raises(ValueError, match=f"embedding: {name} is not offered"):
            nn.Embedding(3, 2, **{name: value})(index)
    with pytest.raises(ValueError, match="Embedding: padding_idx is 3"):
        nn.Embedding(3, 2, padding_idx=3)


@pytest.mark.parametrize("where", ["cpu", *native_devices()])
@pytest.mark.parametrize("number", [-1, 3])
def test_a_number_that_is_no_row(where, number):
    weight = Tensor(np.ones((3, 2), np.float32), device=where)
    index = Tensor(np.array([0, number]), device=where)
    if where == "cuda":  # which is not waited for
        assert np.isnan(np.asarray(F.embedding(index, weight))[1]).all()
        return
    with pytest.raises(IndexError, match=f"embedding: index is {number}; weight has 3 rows"):
        F.embedding(index, weight)
