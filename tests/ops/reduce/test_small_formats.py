"""16-bit floats are summed in float32; long scans and squares of float32 use float64."""

import numpy as np
import pytest

import gpudl
from gpudl.nn import functional as F

SMALL = [gpudl.float16, gpudl.bfloat16]


def of(values, dtype):
    return gpudl.tensor(np.asarray(values, np.float32)).to(dtype)


REDUCTIONS = {  # name: (function, input whose result is representable, result)
    "softmax": (lambda x: F.softmax(x, 0)[0], np.zeros(1000), 1e-3),
    "log_softmax": (lambda x: F.log_softmax(x, 0)[0], np.zeros(1000), -np.log(1000)),
    "logsumexp": (lambda x: x.logsumexp(0), np.zeros(1000), np.log(1000)),
    "mse_loss": (lambda x: F.mse_loss(x, 0 * x), np.full(5000, 2.0), 4),
    "l1_loss": (lambda x: F.l1_loss(x, 0 * x), np.full(5000, 2.0), 2),
    "std": (lambda x: x.std(), np.tile([300.0, -300.0], 2000), 300),
    "norm": (lambda x: x.norm(), np.full(4, 300.0), 600),
    "norm 3": (lambda x: x.norm(3), np.full(8, 300.0), 600),
    "sum": (lambda x: x.sum(), np.ones(3000), 3000),
    "mean": (lambda x: x.mean(), np.full(5000, 3.0), 3),
    "cumsum": (lambda x: x.cumsum(0)[-1], np.ones(1000), 1000),
    "normalize": (lambda x: F.normalize(x, dim=0)[0], np.full(4, 300.0), 0.5),
    "cosine_similarity": (lambda x: F.cosine_similarity(x, x, 0), np.full(400, 300.0), 1),
    "avg_pool2d": (
        lambda x: F.adaptive_avg_pool2d(x.reshape(1, 1, 40, 40), 1)[0, 0, 0, 0],
        np.ones(1600),
        1,
    ),
    "layer_norm": (lambda x: F.layer_norm(x, (2000,))[0], np.tile([300.0, -300.0], 1000), 1),
    "batch_norm": (
        lambda x: F.batch_norm(x.reshape(-1, 1), None, None, training=True)[0, 0],
        np.tile([300.0, -300.0], 1000),
        1,
    ),
}


@pytest.mark.parametrize("dtype", SMALL, ids=lambda d: d.name)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_sums_neither_stagnate_nor_overflow(name, dtype):
    function, values, want = REDUCTIONS[name]
    y = function(of(values, dtype))
    assert y.dtype == dtype
    assert y.float().item() == pytest.approx(want, rel=1e-2)


@pytest.mark.parametrize("dtype", SMALL, ids=lambda d: d.name)
def test_gradients_of_broadcast_inputs_are_summed_in_float32(dtype):
    bias = of([0.0], dtype).requires_grad_()
    weight = of(np.ones((1, 1)), dtype).requires_grad_()
    F.linear(of(np.ones((2000, 1)), dtype), weight, bias).sum().backward()
    assert (bias.grad.float().item(), weight.grad.float().item()) == (2000, 2000)
    shift = of([0.0], dtype).requires_grad_()
    (of(np.zeros((2000, 1)), dtype) + shift).sum().backward()
    assert shift.grad.float().item() == 2000


@pytest.mark.parametrize("function", ["std", "norm"])
def test_squares_do_not_overflow_in_float32(function):
    values = np.random.default_rng(0).standard_normal(1000) * 1e25
    x = gpudl.tensor(values.astype(np.float32)).requires_grad_()
    y = getattr(x, function)()
    y.backward()
    exact = values.std(ddof=1) if function == "std" else np.linalg.norm(values)
    centred = values - values.mean() if function == "std" else values
    slope = centred / exact / (999 if function == "std" else 1)
    assert y.item() == pytest.approx(exact, rel=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-4, atol=1e-6 * np.abs(slope).max())


def test_long_scans_keep_their_precision():
    x = gpudl.tensor(np.full(3_000_000, 0.1, np.float32)).requires_grad_()
    y = x.cumsum(0)
    y[-1].backward()
    exact = 3_000_000 * float(np.float32(0.1))
    assert y[-1].item() == pytest.approx(exact, rel=1e-6)
    assert x.grad[0].item() == 1


@pytest.mark.parametrize("p", [0.3, 0.5, 1, 1.5])
def test_gradients_of_norms_at_zero_are_zero(p):
    x = gpudl.tensor([0.0, 3.0, -4.0]).requires_grad_()
    x.norm(p).backward()
    assert x.grad[0].item() == 0
    assert np.isfinite(x.grad.numpy()).all()


def test_gradient_of_cosine_similarity_at_zero_is_finite():
    x = gpudl.zeros(2, 3, requires_grad=True)
    F.cosine_similarity(x, gpudl.ones(2, 3)).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
