"""The tape: gradients of graphs, lifetime of saved arrays, hooks, user-defined functions."""

import gc
import math
import weakref

import numpy as np
import pytest

import gpudl
from gpudl import autograd
from gpudl.devices.find import cpu
from tests.ops import harness as h


def leaf(*values):
    return gpudl.tensor(list(values) if len(values) != 1 else values[0], requires_grad=True)


def test_lecture_example():
    """J = cos(sin(x²) + 3x²): dJ/dx = -sin(sin(x²) + 3x²)·(cos(x²) + 3)·2x."""
    for value in (-1.3, 0.5, 2.0):
        x = gpudl.tensor(value, dtype=gpudl.core.dtypes.float64, requires_grad=True)
        square = x**2
        J = (square.sin() + 3 * square).cos()
        J.backward()
        s = value * value
        inner = math.sin(s) + 3 * s
        assert J.item() == pytest.approx(math.cos(inner), rel=1e-14)
        expected = -math.sin(inner) * (math.cos(s) + 3) * 2 * value
        assert x.grad.item() == pytest.approx(expected, rel=1e-13)


def test_paths_add_up_and_each_node_runs_once():
    x = leaf(2.0)
    y = x
    for _ in range(60):  # 2**60 paths
        y = y * 0.5 + y * 0.5
    y.backward()
    assert x.grad.item() == 1


def test_deep_chains_do_not_recurse_in_backward_or_when_freed():
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1
    del y
    z = x
    for _ in range(10_000):
        z = z + 1
    del z
    gc.collect()


def test_gradients_accumulate_until_cleared():
    x = leaf(3.0)
    (x * 2).backward()
    (x * 2).backward()
    assert x.grad.item() == 4
    x.grad = None
    (x * 5).backward()
    assert x.grad.item() == 5


def test_same_tensor_twice_and_unused_inputs():
    x, unused = leaf(3.0), leaf(1.0)
    (x * x).backward()
    assert x.grad.item() == 6
    assert unused.grad is None


def test_backward_frees_saved_arrays():
    x = leaf(np.ones(4, np.float32))
    y = x.exp()
    kept = weakref.ref(y.array)
    node = y._node
    z = (y * 3).sum()
    del y
    assert kept() is not None  # the tape holds it
    z.backward()
    assert kept() is None
    assert node.saved is None


def test_backward_frees_each_array_once_it_is_used():
    x = leaf(np.ones(4, np.float32))
    alive = []
    y, arrays = x, []
    for _ in range(5):
        y = y.exp() * 0.1
        arrays.append(weakref.ref(y._node.edges[0][0].saved.y))
    x.register_hook(lambda g: alive.append(sum(a() is not None for a in arrays)))
    y.sum().backward()
    assert alive == [0]


def test_second_backward_is_refused_unless_the_graph_is_retained():
    x = leaf(2.0)
    y = x.exp() * x
    y.backward(retain_graph=True)
    first = x.grad.item()
    y.backward()
    assert x.grad.item() == pytest.approx(2 * first)
    with pytest.raises(RuntimeError, match=r"freed the saved arrays.*retain_graph=True"):
        y.backward()


def test_create_graph_is_refused_and_names_the_operator():
    y = leaf(2.0).exp()
    with pytest.raises(RuntimeError, match="exp does not have"):
        y.backward(create_graph=True)


def test_backward_refuses_tensors_and_gradients_that_do_not_fit():
    with pytest.raises(RuntimeError, match="does not require gradients"):
        gpudl.tensor(1.0).backward()
    with pytest.raises(RuntimeError, match=r"shape \(2,\); only a scalar"):
        (leaf(1.0, 2.0) * 2).backward()
    with pytest.raises(ValueError, match="the gradient has shape"):
        (leaf(1.0, 2.0) * 2).backward(gpudl.tensor([1.0]))
    with pytest.raises(RuntimeError, match="only floating-point"):
        gpudl.tensor([1, 2], requires_grad=True)


def test_grad_returns_gradients_and_leaves_grad_unchanged():
    x, y, z = leaf(2.0), leaf(3.0), leaf(1.0)
    middle = x * y
    out = middle * middle
    dx, dm = autograd.grad(out, (x, middle), retain_graph=True)
    assert (dx.item(), dm.item()) == (36, 12)
    assert x.grad is None
    with pytest.raises(RuntimeError, match="input 0 was not used"):
        autograd.grad(out, z, retain_graph=True)
    assert autograd.grad(out, (z, y), allow_unused=True)[0] is None


def test_no_grad_and_enable_grad():
    x = leaf(2.0)
    with gpudl.no_grad():
        assert not (x * 2).requires_grad
        with gpudl.enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad

    @gpudl.no_grad()
    def twice(t):
        """Doubles."""
        return t * 2

    assert not twice(x).requires_grad
    assert twice.__doc__ == "Doubles."
    with pytest.raises(ZeroDivisionError), gpudl.no_grad():
        1 / 0  # noqa: B018
    assert gpudl.is_grad_enabled()
    assert not (x.detach() * 2).requires_grad


def test_hooks_see_and_replace_gradients():
    x = leaf(2.0)
    seen = []
    middle = x * 3
    remove = middle.register_hook(lambda g: seen.append(g.item()))
    middle.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    (middle * 4).backward()
    assert seen == [4]
    assert x.grad.item() == 121
    remove()
    (x * 3).register_hook(print)
    with pytest.raises(RuntimeError, match="register_hook"):
        x.detach().register_hook(print)


def test_retain_grad():
    x = leaf(2.0)
    middle = x * 3
    middle.retain_grad()
    (middle * middle).backward()
    assert middle.grad.item() == 12
    assert x.grad.item() == 36


class Cube(autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * x * x * factor

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * 3 * x * x * ctx.factor, None


def test_a_user_function():
    x = leaf(1.0, 2.0)
    y = Cube.apply(x, 2)
    assert y.tolist() == [2, 16]
    y.sum().backward()
    assert x.grad.tolist() == [6, 24]


def test_user_functions_with_several_outputs_and_with_too_few_gradients():
    class Both(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, da, db):
            assert db is None
            return da * 2

    x = leaf(1.0)
    Both.apply(x)[0].backward()
    assert x.grad.item() == 2

    class Wrong(Cube):
        @staticmethod
        def backward(ctx, dy):
            return dy

    with pytest.raises(RuntimeError, match="returned 1 gradients for 2"):
        Wrong.apply(x, 2).backward()


def test_saved_tensors_of_a_function_must_not_change():
    x = leaf(2.0)
    middle = x * 1
    y = Cube.apply(middle, 1)
    middle.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("shape", [(0, 3), (3,), (1, 3), (2, 3), ()])
def test_broadcast_gradients_are_summed_back(shape):
    x = gpudl.tensor(np.ones(shape, np.float32), requires_grad=True)
    big = gpudl.tensor(np.ones((2, 3) if 0 not in shape else (4, 0, 3), np.float32))
    (x * big).sum().backward()
    assert x.grad.shape == shape
    assert (x.grad.numpy() == big.numel() / max(1, x.numel())).all()


def test_gradients_pass_through_dtype_conversions():
    x = leaf(1.5, 2.5)
    (x.double() * 2).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [2, 2]


def test_meta_tensors_have_shapes_only():
    x = gpudl.tensor(np.zeros((2, 3), np.float32), device="meta", requires_grad=True)
    y = (x.reshape(3, 2).T * 2 + x)[:, 1:].sum(0)
    assert y.shape == (2,)
    assert "device='meta'" in repr(y)
    y.sum().backward()
    assert x.grad.shape == (2, 3)
    with pytest.raises(ValueError, match="no values"):
        y.detach().numpy()


def test_only_arrays_that_are_read_are_saved():
    """An array saved for one gradient is not read for the others."""
    for case in h.GOOD:
        op = case.op
        if not op.saved_for or not op.differentiable:
            continue
        arrays, outputs = h.reference(case)
        needs = h.needs_of(case, arrays)
        specs = h.specs_of(arrays)
        dys = h.output_gradients(op, outputs)
        whole = cpu.backward(op, dys, op.save(arrays, outputs, specs), needs)
        for wanted in [tuple(i == j for j in range(len(needs))) for i, n in enumerate(needs) if n]:
            saved = op.save(arrays, outputs, specs, wanted)
            part = cpu.backward(op, dys, saved, wanted)
            for w, a, b in zip(wanted, whole, part, strict=True):
                if w:
                    np.testing.assert_array_equal(a, b)


def test_gradients_without_axes_can_be_changed_in_place():
    x = leaf(2.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.mul_(1)))
    (x * x + x).backward()
    x.grad.mul_(2)
    x.grad.zero_()
    (gradient,) = autograd.grad(x * x, x)
    assert (x.grad.item(), gradient.add_(1).item(), len(seen)) == (0, 5, 2)


def test_hooks_receive_tensors_on_the_device_that_computed_them():
    emulator = pytest.importorskip("gpudl._emulator") and "emulator"
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    moved = x.to(emulator)
    middle = moved * 2
    for tensor in (middle, moved):
        tensor.register_hook(lambda g: g * gpudl.tensor([3.0, 1.0], device=emulator))
    middle.sum().backward()
    assert x.grad.device.name == "cpu"
    assert x.grad.tolist() == [18, 2]


def test_a_hook_is_removed_through_its_handle():
    x = leaf(1.0, 2.0)
    handle = x.register_hook(lambda g: g * 0)
    handle.remove()
    handle.remove()
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (gpudl.ones(1), ValueError, r"shape \(1,\).*must have \(2,\)"),
        (2.0, TypeError, "must be a Tensor or None, got float"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(result, error, message):
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dy):
            return result

    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=f"Wrong.backward.*{message}"):
        Wrong.apply(x).sum().backward()
    x.register_hook(lambda g: result)
    with pytest.raises(error, match=rf"register_hook.*{message}"):
        x.sum().backward()
    with pytest.raises(TypeError, match="grad: must be a Tensor"):
        x.grad = np.ones(2)


def test_the_initial_gradient_must_be_an_array():
    with pytest.raises(TypeError, match="gradient must be a Tensor or an array, got float"):
        (leaf(1.0, 2.0) * 2).backward(2.0)
