"""Locally connected layers: shapes, 1d against 2d, refused arguments."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.autograd.tensor import Tensor


def test_the_1d_layer_equals_the_2d_layer_with_one_row():
    gpudl.manual_seed(1)
    line = nn.LocallyConnected1d(3, 5, 7, 3, stride=2, padding=1)
    assert line.weight.shape == (4, 3, 3, 5)
    plane = nn.LocallyConnected2d(3, 5, (1, 7), (1, 3), stride=(1, 2), padding=(0, 1))
    plane.weight.array[...] = line.weight.array[None, :, None]
    plane.bias.array[...] = line.bias.array[None]
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 7)).astype(np.float32))
    got, want = line(x).detach(), plane(x.unsqueeze(2)).detach()
    assert got.shape == (2, 5, 4)
    np.testing.assert_array_equal(got.numpy(), want.numpy()[:, :, 0])
    np.testing.assert_array_equal(line(x[0]).detach().numpy(), got.numpy()[0])


def test_windows_larger_than_the_input_are_refused():
    with pytest.raises(ValueError, match="LocallyConnected2d: kernel_size is 5"):
        nn.LocallyConnected2d(1, 1, 4, 5)
