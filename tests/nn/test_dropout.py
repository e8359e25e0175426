"""Dropout of channels and alpha dropout: values, statistics, refused arguments."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tensor import Tensor
from tests.ops.harness import native_devices


@pytest.mark.parametrize("device", ["cpu", *native_devices()])
def test_whole_channels_are_zeroed_or_doubled(device):
    gpudl.manual_seed(3)
    x = Tensor(np.ones((16, 8, 2, 3), np.float32), device=device, requires_grad=True)
    y = nn.Dropout2d(0.5)(x)
    kept = np.asarray(y.detach()).reshape(128, 6)
    assert (kept == kept[:, :1]).all()
    assert set(np.unique(kept)) == {0, 2}
    assert 40 < (kept[:, 0] == 2).sum() < 88
    y.backward(Tensor(np.ones(y.shape, np.float32), device=device))
    np.testing.assert_array_equal(np.asarray(x.grad), np.asarray(y.detach()))
    assert nn.Dropout2d().eval()(x) is x


def test_alpha_dropout_keeps_mean_and_variance():
    gpudl.manual_seed(4)
    y = F.alpha_dropout(gpudl.randn(40000), 0.3, training=True).numpy()
    assert abs(y.mean()) < 0.03
    assert abs(y.var() - 1) < 0.05
    dropped = np.unique(y, return_counts=True)[1].max()  # dropped elements share one value
    assert abs(dropped / y.size - 0.3) < 0.02


def test_wrong_axes_and_probabilities_are_refused():
    with pytest.raises(ValueError, match="dropout2d: input has shape"):
        F.dropout2d(Tensor(np.ones((2, 3, 4), np.float32)))
    with pytest.raises(ValueError, match="AlphaDropout: p is 2"):
        nn.AlphaDropout(2)
