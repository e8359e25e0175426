"""Activations beyond what tests/ops/test_all.py derives: in place, NaN, defaults, layers."""

from __future__ import annotations

from functools import partial
from inspect import signature

import numpy as np
import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl.autograd.tensor import Tensor
from gpudl.core.public import functions
from gpudl.ops.activation.base import Activation
from tests.ops.harness import native_devices


def activations() -> dict[str, Activation]:
    """The public functions that run one activation and require only its input, with the operators
    that they run by default."""
    found = {}
    for name, function in functions("functional").items():
        arguments = signature(function).parameters.values()
        needed = [a for a in arguments if a.default is a.empty]
        if function.__module__.startswith("gpudl.ops.activation.") and len(needed) == 1:
            y = function(Tensor(np.ones((2, 2, 2), np.float32), requires_grad=True))
            op = getattr(y._node, "op", None)
            if isinstance(op, Activation):
                found[name] = op
    return found


def peer(torch, name):
    """PyTorch's function of that name, or else the operator's twin."""
    return getattr(torch.nn.functional, name, None) or partial(ACTIVATIONS[name].twin, torch)


ACTIVATIONS = activations()
each = pytest.mark.parametrize("name", sorted(ACTIVATIONS))
everywhere = pytest.mark.parametrize("where", ["cpu", *native_devices()])


@pytest.mark.parametrize(
    "name", [n for n in sorted(ACTIVATIONS) if "inplace" in signature(getattr(F, n)).parameters]
)
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


@everywhere
@each
def test_nan_propagates_and_empty_inputs_work(where, name):
    function = getattr(F, name)
    assert np.isnan(np.asarray(function(Tensor(np.array([np.nan], np.float32), device=where)))[0])
    assert function(Tensor(np.zeros((0, 2), np.float32), device=where)).shape == (0, 2)


@everywhere
@each
def test_the_gradient_at_nan_agrees_with_pytorch(where, name):
    """With one element, for which PyTorch runs its scalar code."""
    torch = pytest.importorskip("torch")
    leaves = (
        Tensor(np.array([np.nan], np.float32), device=where, requires_grad=True),
        torch.tensor([np.nan], requires_grad=True),
    )
    for function, x in zip((getattr(F, name), peer(torch, name)), leaves, strict=True):
        (function(x) * 2).sum().backward()
    ours, theirs = (np.asarray(x.grad) for x in leaves)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("where", native_devices())
@each
def test_kernels_treat_nan_and_infinity_as_the_definition_does(where, name):
    results = []
    for device in ("cpu", where):
        x = Tensor(np.array([np.nan, np.inf, -np.inf], np.float32), device=device)
        x.requires_grad = True
        y = getattr(F, name)(x)
        y.sum().backward()
        results.append(np.stack([np.asarray(y.detach()), np.asarray(x.grad)]))
    np.testing.assert_allclose(*results, rtol=1e-6)


@each
def test_defaults_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    theirs = peer(torch, name)(torch.tensor(x)).numpy()
    np.testing.assert_allclose(getattr(F, name)(Tensor(x)).numpy(), theirs, rtol=2e-6, atol=1e-6)


@everywhere
def test_hard_threshold_fires_and_passes_the_gradient_straight_through(where):
    x = Tensor(np.array([-2, -0.5, 0, 0.5, 2], np.float32), device=where, requires_grad=True)
    for function, want in ((F.hard_threshold, [0, 0, 1, 1, 1]), (F.hard_sign, [-1, -1, 1, 1, 1])):
        x.grad = None
        y = function(x)
        assert y.tolist() == want
        (y * 3).sum().backward()
        assert x.grad.tolist() == [0, 3, 3, 3, 0]  # within 1 of the threshold


@everywhere
def test_prelu_takes_any_rank(where):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for shape, n in [((4, 3), 3), ((5,), 1), ((), 1), ((2, 3, 2, 2, 2, 2), 3), ((2, 3), 1)]:
        x, w = rng.standard_normal(shape).astype(np.float32), rng.random(n).astype(np.float32)
        ours = [Tensor(a, device=where, requires_grad=True) for a in (x, w)]
        theirs = [torch.tensor(a, requires_grad=True) for a in (x, w)]
        (F.prelu(*ours) ** 2).sum().backward()
        (torch.nn.functional.prelu(*theirs) ** 2).sum().backward()
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(np.asarray(a.grad), b.grad.numpy(), rtol=1e-5, atol=1e-6)


@everywhere
def test_glu_and_rrelu(where):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    for dim in (0, 1):
        ours = F.glu(Tensor(x, device=where), dim)
        theirs = torch.nn.functional.glu(torch.tensor(x), dim).numpy()
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-5)
    y = np.asarray(F.rrelu(Tensor(x, device=where), training=True))
    slopes = (y / x)[x < 0]
    np.testing.assert_array_equal(y[x >= 0], x[x >= 0])
    assert (slopes > 0.124).all()
    assert (slopes < 0.334).all()
    assert np.ptp(slopes) > 0.01
    np.testing.assert_allclose(
        np.asarray(F.rrelu(Tensor(x, device=where))),
        torch.nn.functional.rrelu(torch.tensor(x)).numpy(),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match="glu: input has 3 elements"):
        F.glu(Tensor(x[:3]), 0)


def test_modules_have_the_names_options_and_results_of_pytorch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    options = {
        "LeakyReLU": (0.2,), "PReLU": (4,), "RReLU": (0.2, 0.2), "Threshold": (0.1, 2.0),
        "Hardtanh": (-2.0, 0.5), "Hardshrink": (0.3,), "Softshrink": (0.3,), "ELU": (0.7,),
        "CELU": (0.7,), "Softplus": (2.0, 3.0), "GELU": ("tanh",), "GLU": (1,), "Softmax": (1,),
        "LogSoftmax": (1,),
    }  # fmt: skip
    for name in filter(partial(hasattr, torch.nn), gpudl.nn.activation.__all__):
        ours, theirs = (getattr(n, name)(*options.get(name, ())) for n in (gpudl.nn, torch.nn))
        y, want = ours(Tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6, err_msg=name)
    assert repr(gpudl.nn.ELU(0.5)) == "ELU(alpha=0.5)"
    assert repr(gpudl.nn.Hardtanh()) == "Hardtanh(min_val=-1.0, max_val=1.0)"
    assert repr(gpudl.nn.ReLU()) == "ReLU()"
