"""sum and mean on devices with kernels, over all choices of axes and memory orders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gpudl.autograd.tensor import Tensor
from gpudl.ops.reduce.tree_sum import tree_sum
from tests.ops.harness import native_devices


@pytest.mark.parametrize("where", native_devices())
@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
def test_every_choice_of_axes(where, last):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    if last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for count in range(5):
        for axes in itertools.combinations(range(4), count):
            tensor = Tensor(x, device=where, requires_grad=True)
            y = tensor.mean(axes) + tensor.sum(axes)
            want = x.mean(axes or None) + x.sum(axes or None)
            np.testing.assert_allclose(np.asarray(y), want, atol=2e-5)
            y.sum().backward()
            share = 1 + want.size / x.size
            np.testing.assert_allclose(np.asarray(tensor.grad), np.full_like(x, share), rtol=1e-6)


@pytest.mark.parametrize("where", native_devices())
def test_a_kernel_sums_axes_adjacent_in_memory(where):
    x = Tensor(np.ones((2, 3, 4, 5), np.float32), device=where)
    assert tree_sum(x, (1, 2), (2, 5), False) is not None
    assert tree_sum(x, (0, 2), (3, 5), False) is None  # not adjacent: array code
    assert tree_sum(Tensor(np.ones((2, 3), np.float32)), (1,), (2,), False) is None


@pytest.mark.slow
@pytest.mark.parametrize("where", native_devices())
def test_more_column_tiles_than_a_grid_has_rows(where):
    x = Tensor(np.ones((2, 65536 * 128), np.float32), device=where)
    assert (np.asarray(x.sum(0)) == 2).all()
