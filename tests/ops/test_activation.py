"""What the activations' declarations leave out: changing the input in place."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl.nn.functional as F
from gpudl.tensor import Tensor


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_in_place_gives_the_same_values_and_gradients(name):
    start = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    gradients = []
    for inplace in (False, True):
        leaf = Tensor(start, requires_grad=True)
        x = leaf * 2  # a leaf itself may not be changed in place
        y = getattr(F, name)(x, inplace=inplace)
        assert (y is x) == inplace
        (y * y).sum().backward()
        assert leaf.grad is not None
        gradients.append((y.detach().numpy(), leaf.grad.numpy()))
    for plain, in_place in zip(*gradients, strict=True):
        np.testing.assert_array_equal(plain, in_place)


def test_in_place_on_a_leaf_that_needs_a_gradient_is_refused():
    with pytest.raises(RuntimeError, match="leaf"):
        F.relu(Tensor(np.ones(3, np.float32), requires_grad=True), inplace=True)
