"""x[key] and x[key] = value against PyTorch, values and gradients."""

import numpy as np
import pytest

import gpudl

SHAPE = (3, 4, 5)
MASK = np.arange(12).reshape(3, 4) % 3 == 0
KEYS = {
    "integer": 1,
    "negative": -1,
    "slice": slice(1, 3),
    "step": slice(None, None, 2),
    "new axis": (None, 1),
    "ellipsis": (..., 2),
    "ellipsis between": (0, ..., 1),
    "list": [2, 0, 2],
    "array": np.array([[0, 1], [2, -1]]),
    "array after slice": (slice(None), [3, 3, 0]),
    "two arrays": ([0, 2, 0], [1, -1, 1]),
    "two arrays broadcast": (np.array([[0], [2]]), [1, 3]),
    "apart": ([0, 1], slice(None), [2, 2]),
    "integer and array": (0, slice(None), [1, 1, 2]),
    "array and integer": ([0, 0, 2], slice(None), 1),
    "last two": (slice(1, None), [0, 3], [4, 4]),
    "mask": np.arange(60).reshape(SHAPE) % 2 == 0,
    "mask of two axes": MASK,
    "mask of an axis": (slice(None), np.array([True, False, True, True])),
    "mask of nothing": np.zeros(3, bool),
    "new axis and array": (None, [0, 1], ..., None),
    "no elements": (slice(0, 0), [0, 1]),
}
keys = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())


def both(shape=SHAPE):
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return gpudl.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True), torch


def torch_key(torch, key):
    def convert(k):
        return torch.tensor(k) if isinstance(k, (list, np.ndarray)) else k

    return tuple(map(convert, key)) if isinstance(key, tuple) else convert(key)


@keys
def test_getitem(key):
    x, twin, torch = both()
    y, z = x[key], twin[torch_key(torch, key)]
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
    w = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    (y * gpudl.tensor(w)).sum().backward()
    (z * torch.tensor(w)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), twin.grad.numpy(), rtol=1e-6, atol=1e-6)


@keys
def test_setitem(key):
    if key is KEYS["two arrays"]:
        key = ([0, 2, 1], [1, -1, 1])  # PyTorch defines no gradient for repeated indices
    x, twin, torch = both()
    value = np.random.default_rng(2).standard_normal(twin[torch_key(torch, key)].shape)
    v = gpudl.tensor(value.astype(np.float32), requires_grad=True)
    tv = torch.tensor(value.astype(np.float32), requires_grad=True)
    y, z = x * 2, twin * 2
    y[key] = v * 3
    z[torch_key(torch, key)] = tv * 3
    named = torch.arange(60).reshape(SHAPE)[torch_key(torch, key)].numpy().ravel()
    want = (twin * 2).detach().numpy().ravel()
    want[named] = (tv * 3).detach().numpy().ravel()
    np.testing.assert_array_equal(y.detach().numpy().ravel(), want)
    if named.size == np.unique(named).size:  # PyTorch does not define which repeated index wins
        np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
        (y * y).sum().backward()
        (z * z).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), twin.grad.numpy(), rtol=1e-6)
        np.testing.assert_allclose(v.grad.numpy(), tv.grad.numpy(), rtol=1e-6)


def test_setitem_broadcasts_and_the_last_of_repeated_indices_wins():
    x = gpudl.tensor([[1.0, 2.0], [3.0, 4.0]])
    x[0] = 7
    x[:, 1] = [8.0, 9.0]
    x[x == 3] = 0.5
    assert x.tolist() == [[7, 8], [0.5, 9]]
    x[[0, 0], [0, 0]] = gpudl.tensor([1.0, 2.0])
    assert x[0, 0].item() == 2


def test_slices_share_memory_and_arrays_copy():
    x = gpudl.tensor([1.0, 2.0, 3.0])
    x[1:][0] = 9
    x[[0]][0] = 9
    assert x.tolist() == [1, 9, 3]


def test_tensors_as_indices():
    x = gpudl.tensor(np.arange(6).reshape(2, 3))
    one = gpudl.tensor(1)
    assert x[one].tolist() == [3, 4, 5]
    assert x[gpudl.tensor([True, False])].tolist() == [[0, 1, 2]]
    assert x[one, one].item() == 4
    assert [row.tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, "index 3 is out of bounds"),
        ((0, 0, 0), "3 indices for a tensor with 2 axes"),
        ([0, 5], "index is 5; axis 0 has 2"),
        ([0.5], "use integers or bool"),
        ((..., ...), "only one '...'"),
    ],
)
def test_bad_keys_are_refused(key, message):
    x = gpudl.tensor(np.zeros((2, 3)))
    with pytest.raises(IndexError, match=message):
        x[key]


def test_gradients_of_repeated_indices_are_reproducible():
    index = np.random.default_rng(0).integers(0, 10, 5000)
    dy = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    grads = []
    for _ in range(2):
        x = gpudl.tensor(np.zeros(10, np.float32), requires_grad=True)
        x[index].backward(gpudl.tensor(dy))
        grads.append(x.grad.numpy())
    np.testing.assert_array_equal(*grads)
    want = np.bincount(index, dy.astype(np.float64), 10)
    np.testing.assert_allclose(grads[0], want, atol=1e-4)


@pytest.mark.parametrize("flag", [True, False, np.bool_(True)])
def test_a_bool_is_a_mask_without_axes(flag):
    x = gpudl.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert x[flag].shape == (int(flag), 2, 3)
    y = x * 1
    y[flag] = 7.0
    assert bool((y == 7).all()) == bool(flag)
    y.sum().backward()
    assert (x.grad.numpy() == (not flag)).all()


def test_setitem_accepts_leading_axes_of_one_element():
    x = gpudl.zeros(2, 3)
    x[0] = gpudl.ones(1, 1, 3)
    x[[1]] = gpudl.ones(1, 1, 3) * 2
    assert x.tolist() == [[1, 1, 1], [2, 2, 2]]
    with pytest.raises(ValueError, match="expand"):
        x[0] = gpudl.ones(2, 3)
