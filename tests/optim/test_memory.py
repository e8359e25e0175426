"""Optimizers work in place: tensors that share memory with a parameter or a gradient continue to
share it."""

import numpy as np
import pytest

import gpudl
from gpudl import nn, optim
from gpudl.autograd.tensor import Tensor
from tests.ops.harness import native_devices

everywhere = pytest.mark.parametrize("where", [pytest.param("cpu"), *native_devices()])
RULES = ["SGD", "Adam", "RMSprop"]
rules = pytest.mark.parametrize("rule", RULES)


def network(where):
    return nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 150), nn.Linear(150, 70)
    ).to(where)


def backward(net, where, scale=1.0):
    images = np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype(np.float32)
    (net(Tensor(scale * images, device=where)) ** 2).mean().backward()


def numpy(tensor):
    return np.array(tensor.device.to_numpy(tensor.array))


@everywhere
@rules
def test_aliases_follow_the_steps(where, rule):
    net = network(where)
    state, detached = net.state_dict(), [p.detach() for p in net.parameters()]
    arrays = [p.array for p in net.parameters()]
    optimizer = getattr(optim, rule)(net.parameters(), lr=0.1)
    before = [numpy(p) for p in net.parameters()]
    for _ in range(2):
        optimizer.zero_grad()
        backward(net, where)
        optimizer.step()
    for p, a, b, c, old in zip(
        net.parameters(), state.values(), detached, arrays, before, strict=True
    ):
        assert p.array is c
        assert not np.array_equal(numpy(p), old)
        np.testing.assert_array_equal(numpy(a), numpy(p))
        np.testing.assert_array_equal(numpy(b), numpy(p))


def test_a_numpy_view_and_a_tied_weight_follow_the_steps():
    p = Tensor(np.ones((3, 4), np.float32), requires_grad=True)
    view, row = p.detach().numpy(), p.detach()[1]
    optimizer = optim.SGD([p], lr=1.0)
    p.grad = gpudl.ones(3, 4)
    optimizer.step()
    assert view.tolist() == [[0.0] * 4] * 3
    assert row.tolist() == [0.0] * 4
    view[...] = 7  # and vice versa
    optimizer.step()
    assert p.detach().tolist() == [[6.0] * 4] * 3


@everywhere
def test_a_kept_gradient_is_not_overwritten(where):
    net = network(where)
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    kept = []
    for scale in (1.0, 5.0, 3.0):
        optimizer.zero_grad()
        backward(net, where, scale)
        kept.append([(p.grad, numpy(p.grad)) for p in net.parameters()])
        optimizer.step()
    for gradients in kept:
        for gradient, then in gradients:
            np.testing.assert_array_equal(numpy(gradient), then)
    assert not np.array_equal(kept[0][0][1], kept[1][0][1])


@everywhere
def test_accumulation_and_zeroing_happen_in_place(where):
    """As in PyTorch, a gradient that was not set to None is reused."""
    net = network(where)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    backward(net, where)
    gradient = net[0].weight.grad
    once = numpy(gradient)
    backward(net, where)
    np.testing.assert_array_equal(numpy(gradient), 2 * once)
    optimizer.zero_grad(set_to_none=False)
    assert not numpy(gradient).any()
    assert net[0].weight.grad is gradient


@everywhere
def test_a_parameter_and_its_gradient_keep_their_memory_order(where):
    device = gpudl.device(where)
    stored = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(0, 2, 1)
    p = Tensor.from_array(device.asarray(stored), device)
    p.requires_grad = True
    p.backward(gpudl.ones(2, 4, 3, device=where))
    assert p.grad.array.strides == p.array.strides


ODD = {
    "with gaps": lambda a: np.repeat(a, 2, 1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "columns first": lambda a: np.asfortranarray(a),
    "not aligned to 16 bytes": lambda a: np.append(0, a.ravel()).astype("f")[1:].reshape(a.shape),
}


@everywhere
@rules
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("which", ["parameter", "gradient"])
def test_memory_of_any_order(where, rule, odd, which):
    """The same steps as for a contiguous parameter, in place."""
    rng = np.random.default_rng(0)
    start, *gradients = rng.standard_normal((4, 5, 7)).astype(np.float32)
    device = gpudl.device(where)

    def place(array, name):
        changed = ODD[odd](array) if which == name else array.copy()
        return Tensor.from_array(device.asarray(changed), device)

    params = [Tensor(start.copy(), device=where), place(start, "parameter")]
    array = params[1].array
    optimizer = getattr(optim, rule)(params, lr=0.1)
    for g in gradients:
        params[0].grad, params[1].grad = Tensor(g, device=where), place(g, "gradient")
        optimizer.step()
    assert params[1].array is array
    np.testing.assert_array_equal(numpy(params[1]), numpy(params[0]))
    states = [np.asarray(a) for a in map(numpy, optimizer.state[params[1]].values())]
    for mine, want in zip(states, map(numpy, optimizer.state[params[0]].values()), strict=True):
        np.testing.assert_array_equal(mine, want)


@everywhere
def test_parameters_that_share_memory_are_updated_one_by_one(where):
    """Two tensors with the same memory: both updates happen, as in PyTorch."""
    p = gpudl.ones(5, device=where, requires_grad=True)
    q = p.detach()
    optimizer = optim.SGD([p, q], lr=1.0)
    p.grad, q.grad = gpudl.ones(5, device=where), gpudl.full((5,), 2.0, device=where)
    optimizer.step()
    assert p.tolist() == [-2.0] * 5


@everywhere
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_parameters_of_several_dtypes(where, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n).astype(np.float32) for n in (3, 20, 9000)]
    kinds = [gpudl.float32, getattr(gpudl, dtype), getattr(gpudl, dtype)]
    ours = [Tensor(a, dtype=kind, device=where) for a, kind in zip(arrays, kinds, strict=True)]
    theirs = [
        torch.tensor(a).to(getattr(torch, kind.name)) for a, kind in zip(arrays, kinds, strict=True)
    ]
    a, b = optim.SGD(ours, lr=0.5), torch.optim.SGD(theirs, lr=0.5)
    for p, q in zip(ours, theirs, strict=True):
        p.grad, q.grad = p.detach().clone(), q.clone()
    a.step()
    b.step()
    for p, q in zip(ours, theirs, strict=True):
        got = np.asarray(numpy(p).astype(np.float32))
        np.testing.assert_allclose(got, q.float().numpy(), rtol=1e-2, atol=1e-3)


@everywhere
def test_small_large_and_empty_parameters_together(where):
    """The same results as for each alone."""
    rng = np.random.default_rng(0)
    sizes = [5, 0, 9000, 1, 70000, 4097, 8, 8191]
    arrays = [rng.standard_normal((2, n)).astype(np.float32) for n in sizes]
    together = [Tensor(a[0].copy(), device=where) for a in arrays]
    alone = [Tensor(a[0].copy(), device=where) for a in arrays]
    whole = optim.Adam(together, lr=0.1)
    single = [optim.Adam([p], lr=0.1) for p in alone]
    for step in range(3):
        for p, q, a in zip(together, alone, arrays, strict=True):
            skipped = step == 1 and len(a[1]) == 1
            p.grad = None if skipped else Tensor(a[1], device=where)
            q.grad = None if skipped else Tensor(a[1], device=where)
        for optimizer in (whole, *single):
            optimizer.step()
    for p, q in zip(together, alone, strict=True):
        np.testing.assert_array_equal(numpy(p), numpy(q))


@everywhere
def test_memory_that_may_not_be_written_is_refused(where):
    p = Tensor(np.frombuffer(bytes(20), np.float32), device=where)
    if where != "cuda":  # which has copied it
        p.grad = gpudl.ones(5, device=where)
        with pytest.raises(RuntimeError, match="memory is read-only"):
            optim.SGD([p]).step()
    repeated = gpudl.ones(1, device=where).expand(5).detach()
    repeated.grad = gpudl.ones(5, device=where)
    with pytest.raises(RuntimeError, match="one element stands for several"):
        optim.SGD([repeated]).step()


def test_memory_of_a_gradient_is_freed_by_zero_grad():
    import weakref

    p = gpudl.zeros(9000, requires_grad=True)
    optimizer = optim.Adam([p])
    p.backward(gpudl.ones(9000))
    array = weakref.ref(p.grad.array)
    optimizer.step()
    optimizer.zero_grad()
    assert array() is None
