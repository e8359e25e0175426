"""The memory of a gradient: the array that backward created if nothing else references it, else a
copy."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl.autograd import tensor as tensor_module
from gpudl.autograd.gradients import Function
from gpudl.autograd.tensor import Tensor


def leaf():
    return gpudl.ones(3, 4, requires_grad=True)


class Identity(Function):
    """The identity, whose backward returns an array created by `give`."""

    give = None

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return Tensor.from_array(Identity.give())


def through(make):
    """The gradient of a leaf whose backward returned make()."""
    Identity.give = staticmethod(make)
    x = leaf()
    Identity.apply(x).backward(gpudl.ones(3, 4))
    return x.grad.array


KEPT, WIDE = np.ones((3, 4), np.float32), np.ones((4, 6), np.float32)
OTHERS = {
    "held by other code": lambda: KEPT,
    "a view of something larger": lambda: WIDE[:3, :4],
    "a view of a part": lambda: np.ones((6, 4), np.float32)[:3],
    "repeated": lambda: np.broadcast_to(np.ones(4, np.float32), (3, 4)),
    "not writable": lambda: np.frombuffer(bytes(48), np.float32).reshape(3, 4),
}


@pytest.mark.parametrize("name", OTHERS)
def test_memory_of_others_is_copied(name):
    got = through(OTHERS[name])
    assert not any(np.shares_memory(got, held) for held in (KEPT, WIDE))
    assert got.base is None
    assert got.flags.c_contiguous
    got += 1  # it is the tensor's own


def test_two_leaves_never_share_a_gradient():
    x, y = leaf(), leaf()
    (x + y).backward(gpudl.ones(3, 4))
    assert not np.shares_memory(x.grad.array, y.grad.array)
    x.grad.array[...] = 5
    assert y.grad.tolist() == [[1.0] * 4] * 3


def test_the_gradient_that_was_passed_stays_the_callers():
    x, given = leaf(), gpudl.ones(3, 4)
    x.backward(given)
    x.grad.array[...] = 5
    assert given.tolist() == [[1.0] * 4] * 3
    array = np.ones((3, 4), np.float32)
    y = leaf()
    y.backward(array)
    assert not np.shares_memory(y.grad.array, array)


def test_a_gradient_seen_by_a_hook_is_not_shared():
    x, seen = leaf(), []
    x.register_hook(lambda g: seen.append(g))
    (2 * x).sum().backward()
    assert not np.shares_memory(x.grad.array, seen[0].array)


def test_a_retained_gradient_is_not_shared():
    x = leaf()
    y = x.view(3, 4)
    y.retain_grad()
    (y * 2).sum().backward()
    assert not np.shares_memory(x.grad.array, y.grad.array)


def test_a_fresh_gradient_is_not_copied(monkeypatch):
    made = []
    plain = tensor_module.in_order_of

    def watched(like, array, owned):
        made.append(owned)
        return plain(like, array, owned)

    monkeypatch.setattr(tensor_module, "in_order_of", watched)
    x = leaf()
    (x * x).sum().backward()
    assert made == [True]
