"""In-place changes: version counters, views, and the same programs in PyTorch."""

import numpy as np
import pytest

import gpudl

# Each program takes (library, leaf a of 3x4, leaf b of 4) and returns a scalar.
PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


@program
def base_changed(lib, a, b):
    x = a * 2
    x *= b
    return (x * a).sum()


@program
def base_changed_after_view(lib, a, b):
    x = a * 2
    view = x[1]
    x.mul_(b)
    return (view * b).sum() + x.sum()


@program
def view_changed(lib, a, b):
    x = a * 2
    view = x[1]
    view.mul_(b)
    return (x * x.detach()).sum() + (view * 3).sum()


@program
def view_of_view_changed(lib, a, b):
    x = a * 2
    sibling = x[:, 1]
    x.T[1:3][0].mul_(b[:3])
    return (x * a).sum() + (sibling * a[:, 0]).sum()


@program
def part_assigned(lib, a, b):
    x = a * 2
    x[1] = b * b
    x[:, 0] = 5
    return (x * a).sum()


@program
def buffer_filled(lib, a, b):
    x = lib.tensor(np.zeros((3, 4), np.float32))
    for i in range(3):
        x[i] = a[i] * b
    x[0].add_(b)
    return (x * a).sum()


@program
def reshaped_view_changed(lib, a, b):
    x = a * 1
    x.reshape(4, 3)[1:3].reshape(6)[::2].mul_(b[:3])
    return (x * a).sum()


@program
def transposed_base(lib, a, b):
    x = (a * 1).T
    x[:, 1].mul_(b)
    return (x.T * a).sum()


@program
def masked(lib, a, b):
    x = a * 2
    x.masked_fill_(a > 0, 1.5)
    x.clamp_(-1, 2)
    return (x * a).sum()


@program
def zeroed_view(lib, a, b):
    x = a * 2
    x[1:].zero_()
    return (x * a).sum()


@program
def copied(lib, a, b):
    x = a * 2
    x.copy_(b)
    x[0].copy_(a[1])
    return (x * a).sum()


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_gradients_as_pytorch(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 4)).astype("f"), rng.standard_normal(4).astype("f")
    results = []
    for lib in (gpudl, torch):
        leaves = [lib.tensor(v, requires_grad=True) for v in (a, b)]
        out = PROGRAMS[name](lib, *leaves)
        out.backward()
        grads = [np.zeros_like(v) if x.grad is None else x.grad.numpy()
                 for x, v in zip(leaves, (a, b), strict=True)]  # fmt: skip
        results.append([out.detach().numpy(), *grads])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_tensors_that_share_memory_share_a_version():
    x = gpudl.tensor([[1.0, 2.0], [3.0, 4.0]])
    others = [x[0], x.T, x.reshape(4), x.detach(), x.view(2, 2).unsqueeze(0), x.expand(3, 2, 2)]
    x[0].add_(1)
    assert x._version == 1
    assert [o._version for o in others] == [1] * len(others)
    copies = [x.clone(), x.T.reshape(4), x[[0]], x + 0]
    x.add_(1)
    assert [c._version for c in copies] == [0] * len(copies)


@pytest.mark.parametrize("change", ["base", "view", "detached", "no_grad"])
def test_changing_a_tensor_that_backward_needs_is_an_error(change):
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    view = y[:1]
    z = y * y
    if change == "base":
        y.add_(1)
    elif change == "view":
        view.add_(1)
    elif change == "detached":
        y.detach().add_(1)
    else:
        with gpudl.no_grad():
            y.add_(1)
    with pytest.raises(RuntimeError, match=r"mul: x is needed .* but has since been changed"):
        z.sum().backward()


def test_a_tensor_that_backward_does_not_need_may_change():
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    z = y + y  # reads neither
    w = y * 3.0  # reads the 3
    y.mul_(5.0)
    (z + w).sum().backward()
    assert x.grad.tolist() == [5, 5]


def test_leaves_that_require_gradients_are_protected():
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    for change in (lambda: x.add_(1), lambda: x.zero_(), lambda: x.copy_(x * 1)):
        with pytest.raises(RuntimeError, match="in-place update of a leaf"):
            change()
    for change in (lambda: x[0].add_(1), lambda: x.reshape(2, 1).mul_(2), lambda: set_first(x)):
        with pytest.raises(RuntimeError, match="in-place update of a view of a leaf"):
            change()
    with gpudl.no_grad():
        x.add_(1)
        x[0] = 7
    assert x.tolist() == [7, 3]
    assert x.is_leaf
    assert x.requires_grad


def set_first(x):
    x[0] = 1.0


def test_under_no_grad_a_tensor_keeps_its_place_on_the_tape():
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3.0
    with gpudl.no_grad():
        y.mul_(100)
    y.sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_changing_views_created_under_no_grad_is_refused():
    x = gpudl.tensor([1.0, 2.0], requires_grad=True) * 1
    with gpudl.no_grad():
        view = x[0]
    with pytest.raises(RuntimeError, match=r"created under no_grad\(\)"):
        view.mul_(2)


def test_changing_outputs_of_split_is_refused():
    x = gpudl.tensor([1.0, 2.0], requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="output of split"):
        x.split(1)[0].mul_(2)
    plain = gpudl.tensor([1.0, 2.0])
    plain.split(1)[0].mul_(5)
    assert plain.tolist() == [5, 2]


def test_results_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"result has shape \[2, 2\]"):
        gpudl.tensor([1.0, 2.0]).add_(gpudl.tensor([[1.0], [2.0]]))
    with pytest.raises(TypeError, match="float32 result does not fit into int64"):
        gpudl.tensor([1, 2]).add_(0.5)
    with pytest.raises(RuntimeError, match="clone"):
        gpudl.tensor([1.0]).expand(3).add_(1)
    half = gpudl.tensor([1.0]).half()
    half += gpudl.tensor([1.0])
    assert half.dtype == np.float16


def test_augmented_assignment_keeps_the_object():
    x = y = gpudl.tensor([6.0])
    x += 1
    x -= 2
    x *= 4
    x /= 2
    x **= 2
    x //= 7
    x %= 8
    assert x is y
    assert y.item() == 100 // 7 % 8


def test_a_tensor_moved_to_another_device_is_a_copy():
    emulator = pytest.importorskip("gpudl._emulator") and "emulator"
    x = gpudl.ones(2)
    moved = x.to(emulator)
    moved.add_(1)
    assert (x.tolist(), moved.tolist()) == ([1, 1], [2, 2])
