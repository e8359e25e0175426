"""Gradients whose terms leave the range of float32 although their value does not."""

import numpy as np
import pytest

import gpudl
from gpudl.nn import functional as F
from tests.ops.harness import DEVICES


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_gradient_of_a_quotient_whose_divisor_squared_leaves_the_range(size):
    x = gpudl.tensor([size])
    y = gpudl.tensor([size], requires_grad=True)
    (x / y).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), [-1 / np.float32(size)], rtol=1e-6)


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gradient_of_gelu_of_a_huge_number(where, approximate):
    x = gpudl.tensor([1e30, -1e30], device=where, requires_grad=True)
    F.gelu(x, approximate=approximate).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 0])
