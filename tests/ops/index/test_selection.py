"""Parts of tensors and products of vectors against PyTorch, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl

torch = pytest.importorskip("torch")

MATRIX, CUBE, VECTOR = (4, 5), (3, 4, 5), (6,)

CASES = [
    ("narrow", [CUBE], (1, 1, 2), {}),
    ("narrow", [CUBE], (-1, -3, 2), {}),
    ("select", [CUBE], (1, -2), {}),
    ("tril", [CUBE], (1,), {}),
    ("triu", [MATRIX], (), {}),
    ("triu", [MATRIX], (-2,), {}),
    ("diagonal", [CUBE], (1, 0, 2), {}),
    ("diagonal", [MATRIX], (-2,), {}),
    ("diagonal", [MATRIX], (9,), {}),
    ("diag", [MATRIX], (2,), {}),
    ("diag", [VECTOR], (-1,), {}),
    ("trace", [MATRIX], (), {}),
    ("repeat_interleave", [CUBE], (2,), {"dim": 1}),
    ("repeat_interleave", [MATRIX], (3,), {}),
    ("outer", [VECTOR, (3,)], (), {}),
    ("dot", [VECTOR, VECTOR], (), {}),
    ("mv", [MATRIX, (5,)], (), {}),
    ("addmm", [(4, 3), MATRIX, (5, 3)], (), {"beta": 0.5, "alpha": 2}),
]


@pytest.mark.parametrize(("name", "shapes", "args", "kwargs"), CASES)
def test_agrees_with_pytorch(name, shapes, args, kwargs):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    ours = [gpudl.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    got, want = (
        getattr(lib, name)(*ts, *args, **kwargs) for lib, ts in ((gpudl, ours), (torch, theirs))
    )
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-5, atol=1e-6)
    dy = rng.standard_normal(tuple(want.shape)).astype(np.float32)
    got.backward(gpudl.tensor(dy))
    want.backward(torch.tensor(dy))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_meshgrid(indexing):
    vectors = [np.arange(3), np.arange(4) * 10, np.arange(2) * 100]
    got = gpudl.meshgrid(*map(gpudl.tensor, vectors), indexing=indexing)
    want = torch.meshgrid(*map(torch.tensor, vectors), indexing=indexing)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_index_add_and_a_tensor_of_repeats():
    x, source = np.zeros((3, 2), np.float32), np.arange(8, dtype=np.float32).reshape(4, 2)
    index = np.array([0, 2, 0, 2])
    got = gpudl.index_add(*map(gpudl.tensor, [x]), 0, *map(gpudl.tensor, [index, source]), alpha=2)
    want = torch.tensor(x).index_add(0, torch.tensor(index), torch.tensor(source), alpha=2)
    np.testing.assert_array_equal(got.numpy(), want.numpy())
    got = gpudl.repeat_interleave(gpudl.tensor([1, 2, 3]), gpudl.tensor([0, 2, 1]))
    assert got.tolist() == [2, 2, 3]


def test_as_tensor_shares_memory_if_possible():
    array = np.zeros(3, np.float32)
    shared = gpudl.as_tensor(array)
    array[0] = 5
    assert shared[0].item() == 5
    assert gpudl.as_tensor(shared) is shared
    assert gpudl.as_tensor([1, 2], dtype=gpudl.float32).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.narrow(1, 4, 2), "narrow: start 4 and length 2 do not fit axis 1 of 5"),
        (lambda x: x.select(2, 0), "select: dim is 2; it must be from -2 to 1 for 2 axes"),
        (lambda x: x[0].tril(), r"tril: input has shape \[5\]"),
        (lambda x: x.diagonal(0, 1, -1), "diagonal: dim1 and dim2 are both axis 1"),
        (lambda x: x.repeat_interleave(-1), "repeat_interleave: repeats is -1; it must be"),
        (lambda x: x.outer(x), r"outer: input has shape \[4, 5\]"),
        (lambda x: x[0].dot(x[:, 0]), r"dot: shapes are \[5\] and \[4\]"),
        (lambda x: gpudl.meshgrid(x, indexing="yx"), "meshgrid: indexing is 'yx'"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises((ValueError, IndexError), match=message):
        call(gpudl.zeros(4, 5))
