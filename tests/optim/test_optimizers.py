"""Optimizers against torch.optim, groups, missing gradients, resuming, moved parameters."""

import numpy as np
import pytest

import gpudl
from gpudl import optim
from gpudl.autograd.tensor import Tensor
from tests.ops.harness import native_devices

SHAPES = [(7,), (3, 5), (4, 3, 2, 2), ()]
everywhere = pytest.mark.parametrize("where", [pytest.param("cpu"), *native_devices()])

# name, options that PyTorch has too
OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-3}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "momentum": 0.8, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "eps": 1e-3, "maximize": True}),
    ("RMSprop", {"centered": True, "eps": 1e-3, "momentum": 0.5}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.3, "amsgrad": True}),
    ("Adadelta", {"rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("RAdam", {"decoupled_weight_decay": True, "weight_decay": 0.3, "maximize": True}),
    ("ASGD", {"lr": 0.1, "lambd": 0.3, "alpha": 0.5, "t0": 4, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.05, "etas": (0.4, 1.3), "step_sizes": (0.01, 0.2)}),
]
each = pytest.mark.parametrize(("name", "options"), OPTIONS)


def parameters(where="cpu", seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in SHAPES]
    return [Tensor(a, device=where, requires_grad=True) for a in arrays]


def values(params):
    return [np.array(np.asarray(p)) for p in params]


def gradient(p, step, number):
    """The gradient of a quadratic, with the same noise for both libraries."""
    noise = np.random.default_rng(100 * step + number).standard_normal(p.shape)
    return (0.5 * p + noise).astype(np.float32)


def run(optimizer, params, steps, missing=lambda step, number: False):
    for step in steps:
        optimizer.zero_grad()
        for number, p in enumerate(params):
            if not missing(step, number):
                g = gradient(np.asarray(p), step, number)
                p.backward(Tensor(g, device=p.device))
        optimizer.step()


def run_torch(optimizer, params, steps, missing=lambda step, number: False):
    torch = pytest.importorskip("torch")
    for step in steps:
        optimizer.zero_grad()
        for number, p in enumerate(params):
            if not missing(step, number):
                p.grad = torch.tensor(gradient(p.detach().numpy(), step, number))
        optimizer.step()


def assert_same(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        q = q.detach().numpy() if hasattr(q, "detach") and not isinstance(q, Tensor) else q
        np.testing.assert_allclose(np.asarray(p), np.asarray(q), rtol=2e-6, atol=1e-6)


@everywhere
@each
def test_twenty_steps_as_pytorch(name, options, where):
    torch = pytest.importorskip("torch")
    ours = parameters(where)
    theirs = [torch.tensor(a, requires_grad=True) for a in values(ours)]
    run(getattr(optim, name)(ours, **options), ours, range(20))
    run_torch(getattr(torch.optim, name)(theirs, **options), theirs, range(20))
    assert_same(ours, theirs)


@everywhere
@each
def test_missing_gradients_as_pytorch(name, options, where):
    """Parameters without a gradient keep their values and state, so step counts differ."""
    torch = pytest.importorskip("torch")

    def missing(step, number):
        return (step + number) % 3 == 0 or (number == 2 and step < 4)

    ours = parameters(where)
    theirs = [torch.tensor(a, requires_grad=True) for a in values(ours)]
    run(getattr(optim, name)(ours, **options), ours, range(10), missing)
    run_torch(getattr(torch.optim, name)(theirs, **options), theirs, range(10), missing)
    assert_same(ours, theirs)


@each
def test_state_dict_has_pytorchs_structure_and_moves_both_ways(name, options):
    torch = pytest.importorskip("torch")
    ours = parameters()
    theirs = [torch.tensor(a, requires_grad=True) for a in values(ours)]
    optimizer, peer = (
        getattr(m, name)(p, **options) for m, p in ((optim, ours), (torch.optim, theirs))
    )
    run(optimizer, ours, range(3))
    run_torch(peer, theirs, range(3))
    saved, known = optimizer.state_dict(), peer.state_dict()
    kept = {i: {k: v for k, v in s.items() if v is not None} for i, s in known["state"].items()}
    kept = {i: s for i, s in kept.items() if s}
    assert saved["state"].keys() == kept.keys()
    for number, state in kept.items():
        assert saved["state"][number].keys() == state.keys()
        for key, value in state.items():
            got = np.asarray(saved["state"][number][key])
            np.testing.assert_allclose(got, value.numpy(), rtol=2e-6, atol=1e-6)
    assert [g["params"] for g in saved["param_groups"]] == [
        g["params"] for g in known["param_groups"]
    ]
    fresh = parameters(seed=9)
    restored = getattr(optim, name)(fresh, **options)
    as_numpy = {i: {k: v.numpy() for k, v in s.items()} for i, s in kept.items()}
    restored.load_state_dict({"state": as_numpy, "param_groups": known["param_groups"]})
    for p, q in zip(fresh, theirs, strict=True):
        p.array[...] = q.detach().numpy()
    run(restored, fresh, range(3, 6))
    run_torch(peer, theirs, range(3, 6))
    assert_same(fresh, theirs)


@pytest.mark.parametrize("other", ["SGD", "RMSprop", "Adagrad"])
def test_the_state_of_another_optimizer_is_refused(other):
    (p,) = parameters()[:1]
    adam, saved = optim.Adam([p], lr=0.3), getattr(optim, other)([p], lr=0.5).state_dict()
    with pytest.raises(ValueError, match="state of another optimizer: it lacks the option"):
        adam.load_state_dict(saved)
    assert adam.param_groups[0]["lr"] == 0.3


@everywhere
@each
def test_resumes_bit_for_bit(name, options, where):
    whole = parameters(where)
    run(getattr(optim, name)(whole, **options), whole, range(8))
    first = parameters(where)
    optimizer = getattr(optim, name)(first, **options)
    run(optimizer, first, range(5))
    saved = optimizer.state_dict()
    second = [Tensor(a, device=where, requires_grad=True) for a in values(first)]
    run(optimizer, first, range(5, 7))  # the saved state must not change with it
    again = getattr(optim, name)(second, **{**options, "lr": 123.0})
    again.load_state_dict(saved)
    run(again, second, range(5, 8))
    for p, q in zip(whole, second, strict=True):
        np.testing.assert_array_equal(np.asarray(p), np.asarray(q))


def test_groups_have_their_own_options():
    torch = pytest.importorskip("torch")
    ours = parameters()
    theirs = [torch.tensor(a, requires_grad=True) for a in values(ours)]

    def make(module, p):
        optimizer = module.SGD([{"params": p[:2], "lr": 0.5}, {"params": p[2:3]}], lr=0.1)
        optimizer.add_param_group({"params": [p[3]], "momentum": 0.9, "weight_decay": 0.2})
        return optimizer

    a, b = make(optim, ours), make(torch.optim, theirs)
    run(a, ours, range(3))
    run_torch(b, theirs, range(3))
    a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = 0.05
    a.param_groups[1]["momentum"] = b.param_groups[1]["momentum"] = 0.5  # adds a state
    run(a, ours, range(3, 6))
    run_torch(b, theirs, range(3, 6))
    assert_same(ours[:2] + ours[3:], theirs[:2] + theirs[3:])


@pytest.mark.parametrize("where", native_devices())
def test_a_step_is_one_launch(where, monkeypatch):
    """For all groups, whatever their options, and parameters that had fewer gradients so far."""
    params = parameters(where)
    groups = [{"params": params[:2], "lr": 0.5}, {"params": params[2:], "weight_decay": 0.1}]
    optimizer = optim.Adam(groups)
    params[1].backward(gpudl.ones(*params[1].shape, device=where))
    optimizer.step()
    device, calls = params[0].device, []
    forward = type(device).forward
    monkeypatch.setattr(
        type(device), "forward", lambda *a, **k: calls.append(1) or forward(*a, **k)
    )
    run(optimizer, params, range(3))
    assert len(calls) == 3


@everywhere
def test_a_captured_launch_reads_new_hyperparameters_at_the_same_address(where):
    """advance() writes learning rate and bias corrections to the address that launch() reads; here
    the first step's launch is repeated, as a graph's replay would."""
    ours, captured = parameters(where), parameters(where)
    a, b = optim.Adam(ours, lr=0.1), optim.Adam(captured, lr=0.1)
    for params in (ours, captured):
        for number, p in enumerate(params):
            p.backward(Tensor(gradient(np.asarray(p), 0, number), device=where))
    b.advance()
    graph = list(b._launches)
    for step in range(3):
        a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = 0.1 / (step + 1)
        a.step()
        if step:
            b.advance()
        b._launches = graph
        b.launch()
    assert_same(captured, values(ours))


def test_tied_parameters_are_updated_once():
    p, q = parameters()[:2]
    start = np.array(p.array)
    optimizer = optim.SGD([p, q, p], lr=1.0)
    p.backward(gpudl.ones(7))
    optimizer.step()
    np.testing.assert_array_equal(p.array, start - 1)
    assert len(optimizer.param_groups[0]["params"]) == 2


@pytest.mark.parametrize("target", ["cpu", *native_devices()])
def test_parameters_with_new_memory(target):
    """As after module.to(device): the state moves with them."""
    still, moved = parameters(), parameters()
    a, b = optim.Adam(still, lr=0.1), optim.Adam(moved, lr=0.1)
    run(a, still, range(3))
    run(b, moved, range(3))
    place = gpudl.device(target)
    for p in moved:
        p.array, p.device = place.asarray(np.array(p.array)), place
        p.grad = None
    run(a, still, range(3, 6))
    run(b, moved, range(3, 6))
    assert_same(moved, still)


def test_copying_into_parameters_in_place_is_seen():
    (p, *_) = parameters()
    optimizer = optim.SGD([p], lr=1.0)
    p.array[...] = 5
    p.grad = gpudl.ones(7)
    optimizer.step()
    assert p.array.tolist() == [4.0] * 7


def test_backward_notices_an_update_after_forward():
    (p, *_) = parameters()
    from gpudl.nn import functional as F

    optimizer = optim.SGD([p], lr=1.0)
    y = F.softplus(p)
    p.grad = gpudl.ones(7)
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward(gpudl.ones(7))


def test_zero_grad_and_closure():
    (p, *_) = parameters()
    optimizer = optim.SGD([p], lr=0.5, momentum=0.5)

    def closure():
        optimizer.zero_grad()
        p.backward(gpudl.ones(7))
        return 42

    start = np.array(p.array)
    assert optimizer.step(closure) == 42
    np.testing.assert_array_equal(p.array, start - np.float32(0.5))
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0] * 7
    optimizer.step()  # momentum still moves the parameter
    np.testing.assert_allclose(p.array, start - 0.75, rtol=1e-6)
    optimizer.zero_grad()
    assert p.grad is None


# ------------------------------------------------------------------ the lectures' formulas


def one(value=1.0):
    return Tensor(np.array([value], np.float32), requires_grad=True)


def walk(optimizer, p, gradients):
    path = []
    for g in gradients:
        p.grad = Tensor(np.array([g], np.float32))
        optimizer.step()
        path.append(float(p.array[0]))
    return path


def test_lectures_momentum():
    """v = 0.5 v - 0.1 g, w += v from w = 1 with g = 1, 2: v = -0.1, -0.25."""
    p = one()
    assert walk(optim.SGD([p], lr=0.1, momentum=0.5, lectures=True), p, [1, 2]) == pytest.approx(
        [0.9, 0.65]
    )
    # Nesterov: w += v + 0.5 (v - v_before): -0.1 - 0.05, then -0.25 - 0.075.
    p = one()
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5, nesterov=True, lectures=True)
    assert walk(optimizer, p, [1, 2]) == pytest.approx([0.85, 0.525])


def test_lectures_momentum_differs_only_when_the_rate_changes():
    paths = []
    for lectures in (False, True):
        for nesterov in (False, True):
            p = one()
            optimizer = optim.SGD([p], lr=0.1, momentum=0.9, lectures=lectures, nesterov=nesterov)
            path = walk(optimizer, p, [1, -2, 3])
            optimizer.param_groups[0]["lr"] = 0.01
            paths.append(path + walk(optimizer, p, [1, 1]))
    for ours, theirs in zip(paths[:2], paths[2:], strict=True):
        assert ours[:3] == pytest.approx(theirs[:3], rel=1e-5)
        assert abs(ours[4] - theirs[4]) > 1e-3


def test_eps_under_the_root():
    """g = 1 and sums 0.1 (RMSprop, alpha 0.9) and 1 (Adagrad), eps 0.3."""
    p = one()
    path = walk(optim.RMSprop([p], lr=0.1, alpha=0.9, eps=0.3, eps_inside=True), p, [1])
    assert path == pytest.approx([1 - 0.1 / 0.4**0.5])
    p = one()
    path = walk(optim.Adagrad([p], lr=0.1, eps=0.3, eps_inside=True), p, [1])
    assert path == pytest.approx([1 - 0.1 / 1.3**0.5])


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_l1_penalty_adds_its_sign(name):
    """It adds l1·sign(param) to the gradient, and nothing at zero."""
    start = np.array([2.0, -3.0, 0.0], np.float32)
    results = []
    for l1 in (0.0, 0.25):
        p = Tensor(start, requires_grad=True)
        p.array = start.copy()
        optimizer = getattr(optim, name)([p], lr=0.1, l1=l1)
        for _ in range(3):
            added = 0 if l1 else 0.25 * np.sign(p.array)
            p.grad = Tensor((np.float32(0.5) + added).astype(np.float32) * np.ones(3, np.float32))
            optimizer.step()
        results.append(p.array)
    np.testing.assert_allclose(*results, rtol=1e-6)


# ------------------------------------------------------------------ errors


def test_errors():
    p, q, *_ = parameters()
    with pytest.raises(ValueError, match="SGD: got an empty list"):
        optim.SGD([])
    with pytest.raises(ValueError, match="SGD: lr is -1; it must be zero or more"):
        optim.SGD([p], lr=-1)
    with pytest.raises(TypeError, match="SGD: lr is 'a'; it must be zero or more"):
        optim.SGD([p], lr="a")
    with pytest.raises(TypeError, match=r"Adam: betas is 0\.9; it must be two numbers"):
        optim.Adam([p], betas=0.9)
    with pytest.raises(ValueError, match=r"Rprop: etas is \(2, 3\)"):
        optim.Rprop([p], etas=(2, 3))
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        optim.SGD([p], nesterov=True)
    with pytest.raises(ValueError, match=r"Adam: betas is \(0.9, 1.0\)"):
        optim.Adam([p], betas=(0.9, 1.0))
    with pytest.raises(TypeError, match="can only train tensors, got str"):
        optim.Adam(["p"])
    with pytest.raises(ValueError, match="more than one group"):
        optim.SGD([{"params": [p]}, {"params": [q, p]}])
    with pytest.raises(TypeError, match="Adam: has no option momentum"):
        optim.Adam([{"params": [p], "momentum": 0.5}])
    with pytest.raises(ValueError, match="cannot train a tensor of dtype int64"):
        optim.SGD([gpudl.arange(3)])
    saved = optim.Adam([p]).state_dict()
    with pytest.raises(
        ValueError, match=r"groups have \[1\] parameters, but this optimizer's have \[2\]"
    ):
        optim.Adam([p, q]).load_state_dict(saved)


@everywhere
def test_converting_a_model_between_backward_and_step_loses_no_update(where):
    """As in PyTorch, `.to` moves the gradients too."""
    after = []
    for convert in (lambda net: net, lambda net: net.float(), lambda net: net.double().float()):
        net = gpudl.nn.Linear(2, 1)
        net.load_state_dict({"weight": np.ones((1, 2)), "bias": np.ones(1)})
        net.to(where)
        optimizer = optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            net(gpudl.ones(1, 2, device=where)).sum().backward()
            convert(net)
            optimizer.step()
        after.append(net.weight.detach().tolist())
    assert after[0] == after[1] == after[2]
    assert after[0] != [[1, 1]]
