"""Losses beyond what tests/ops/test_all.py derives from the declarations: labels out of range on a
device, a mean over nothing, and the public functions against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.ops.loss.cross_entropy import CrossEntropyOp, NllLossOp
from tests.ops.harness import native_devices

everywhere = pytest.mark.parametrize("where", ["cpu", *native_devices()])


def logits(*shape: int, where: str = "cpu") -> Tensor:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return Tensor(x, device=where, requires_grad=True)


@pytest.mark.parametrize("where", native_devices())
@pytest.mark.parametrize("wrong", [3, -1, 2**40])
@pytest.mark.parametrize("kind", [CrossEntropyOp, NllLossOp])
def test_a_wrong_label_in_a_kernel_makes_only_the_loss_of_its_row_nan(where, wrong, kind):
    x = logits(3, 3, where=where)
    target = Tensor(np.array([0, wrong, 2]), device=where)
    losses = apply(kind.of(False, False), x, target, None)[0]
    assert np.isnan(np.asarray(losses)).tolist() == [False, True, False]
    assert np.isnan(np.asarray(apply(kind.of(True, True), x, target, None)[0]))
    losses.backward(Tensor(np.ones(3, np.float32), device=where))
    assert x.grad is not None
    assert np.isnan(np.asarray(x.grad)).all(1).tolist() == [False, True, False]


@pytest.mark.parametrize("where", ["cpu", native_devices()[0]])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_a_wrong_label_in_host_memory_is_reported(where, name):
    target = Tensor(np.array([0, 3]), device=where)
    with pytest.raises(IndexError, match=rf"{name}: target has the label 3; .* 0 to 2"):
        getattr(F, name)(logits(2, 3, where=where), target)


@everywhere
def test_probabilities_as_targets(where):
    q = np.abs(drawn((4, 3, 2))[0])
    for options in ({}, {"weight": np.float32([1, 2, 0.5]), "label_smoothing": 0.2}):
        against_torch("cross_entropy", where, [*drawn((4, 3, 2), seed=5), q], options, 2)
    with pytest.raises(ValueError, match="ignore_index needs labels"):
        F.cross_entropy(Tensor(q), Tensor(q), ignore_index=1)


@everywhere
def test_a_mean_over_only_ignored_labels_is_nan_and_has_no_gradient(where):
    x = logits(2, 3, where=where)
    loss = F.cross_entropy(x, Tensor(np.array([-100, -100]), device=where))
    assert np.isnan(np.asarray(loss))
    loss.backward()
    assert x.grad is not None
    np.testing.assert_array_equal(np.asarray(x.grad), 0)


@everywhere
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_classes_are_axis_1_as_in_pytorch(where, name):
    torch = pytest.importorskip("torch")
    x = logits(2, 5, 3, 4, where=where)
    labels = np.random.default_rng(1).integers(0, 5, (2, 3, 4))
    loss = getattr(F, name)(x, Tensor(labels, device=where))
    loss.backward()
    their_x = torch.tensor(np.asarray(x), requires_grad=True)
    theirs = getattr(torch.nn.functional, name)(their_x, torch.tensor(labels))
    theirs.backward()
    np.testing.assert_allclose(np.asarray(loss), theirs.detach().numpy(), rtol=1e-6)
    assert x.grad is not None
    np.testing.assert_allclose(np.asarray(x.grad), their_x.grad.numpy(), rtol=1e-5, atol=1e-8)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction is 'average'; it must be mean, sum or none"):
        F.mse_loss(logits(2), logits(2), reduction="average")


@everywhere
def test_edges_of_logarithms(where):
    def put(*values):
        return Tensor(np.array(values, np.float32), device=where)

    got = F.binary_cross_entropy(put(0, 1, 0, 2), put(1, 1, 0, 1), reduction="none")
    np.testing.assert_array_equal(np.asarray(got), [100, 0, 0, np.nan])
    assert F.kl_div(put(-1, -2), put(0, 1), reduction="none").tolist() == [0, 2]


PAIRS = {
    "mse_loss": {}, "l1_loss": {}, "smooth_l1_loss": {"beta": 0.5}, "huber_loss": {"delta": 0.5},
    "soft_margin_loss": {}, "hinge_embedding_loss": {"margin": 0.5}, "poisson_nll_loss": {},
    "kl_div": {"log_target": True, "reduction": "batchmean"},
    "binary_cross_entropy_with_logits": {},
}  # fmt: skip


def against_torch(name, where, arrays, options, grads=1):
    """Compare the loss, and the gradients of the first `grads` inputs."""
    torch = pytest.importorskip("torch")
    ours = [Tensor(a, device=where, requires_grad=i < grads) for i, a in enumerate(arrays)]
    theirs = [torch.tensor(a, requires_grad=i < grads) for i, a in enumerate(arrays)]
    mine = {
        k: Tensor(v, device=where) if isinstance(v, np.ndarray) else v for k, v in options.items()
    }
    peers = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    y = getattr(F, name)(*ours, **mine)
    want = getattr(torch.nn.functional, name)(*theirs, **peers)
    np.testing.assert_allclose(np.asarray(y), want.detach().numpy(), rtol=2e-6, atol=1e-6)
    y.sum().backward()
    want.sum().backward()
    for a, b in list(zip(ours, theirs, strict=True))[:grads]:
        np.testing.assert_allclose(np.asarray(a.grad), b.grad.numpy(), rtol=1e-5, atol=1e-6)


def drawn(*shapes, seed=3):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(np.float32) for s in shapes]


@everywhere
@pytest.mark.parametrize("name", PAIRS)
def test_names_and_options_agree_with_pytorch(name, where):
    x, t = drawn((5, 4), (5, 4))
    if name in ("soft_margin_loss", "hinge_embedding_loss"):
        t = np.sign(t)
    against_torch(name, where, [x, abs(t) if name == "poisson_nll_loss" else t], PAIRS[name])


@everywhere
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_composed_of_other_operators(reduction, where):
    a, b, t = drawn((6, 4), (6, 4), (6,))
    sign, option = np.sign(t), {"reduction": reduction}
    against_torch(
        "margin_ranking_loss", where, [a[:, 0], b[:, 0], sign], {"margin": 0.3, **option}, 2
    )
    against_torch("cosine_embedding_loss", where, [a, b, sign], {"margin": 0.1, **option}, 2)
    variance = np.exp(b)
    against_torch("gaussian_nll_loss", where, [a, b, variance], {"full": True, **option}, 3)
    against_torch("gaussian_nll_loss", where, [a, b, variance[:, :1]], option, 3)
    labels, weight = np.array([0, 3, 1, 2, 2, 0]), variance[0]
    for options in ({}, {"p": 2, "margin": 0.7}, {"weight": weight, "margin": 0.4}):
        against_torch("multi_margin_loss", where, [a, labels], {**options, **option})


@everywhere
def test_cosine_similarity(where):
    a, b = drawn((3, 4, 5), (3, 1, 5))
    a[0, 0] = 0
    for dim in (1, -1):
        against_torch("cosine_similarity", where, [a[1:], b[1:]], {"dim": dim}, 2)
    assert np.asarray(F.cosine_similarity(Tensor(a), Tensor(b), -1))[0, 0] == 0


@everywhere
def test_weights_of_binary_losses_broadcast(where):
    x, t, w = (1 / (1 + np.exp(-a)) for a in drawn((4, 3), (4, 3), (3,)))
    against_torch("binary_cross_entropy", where, [x, t], {"weight": w})
    options = {"weight": w, "pos_weight": 3 * w}
    against_torch("binary_cross_entropy_with_logits", where, [x, t], options)
    with pytest.raises(ValueError, match=r"binary_cross_entropy: weight has shape \(4,\)"):
        F.binary_cross_entropy(Tensor(x), Tensor(t), Tensor(np.ones(4, np.float32)))


def test_loss_modules_have_the_names_and_options_of_pytorch():
    torch = pytest.importorskip("torch")
    x, t, w = drawn((4, 3), (4, 3), (3,))
    sign, p, labels = np.sign(t), 1 / (1 + np.exp(-t)), np.array([0, 2, 1, 1])
    made = {
        "MSELoss": ({}, (x, t)), "L1Loss": ({}, (x, t)), "SmoothL1Loss": ({"beta": 2.0}, (x, t)),
        "HuberLoss": ({"delta": 0.2}, (x, t)), "SoftMarginLoss": ({}, (x, sign)),
        "KLDivLoss": ({"reduction": "batchmean", "log_target": True}, (x, t)),
        "HingeEmbeddingLoss": ({"margin": 0.5}, (x, sign)), "PoissonNLLLoss": ({}, (x, p)),
        "MarginRankingLoss": ({"margin": 0.1}, (x, t, sign)), "GaussianNLLLoss": ({}, (x, t, p)),
        "CosineEmbeddingLoss": ({}, (x, t, sign[:, 0])), "CosineSimilarity": ({}, (x, t)),
        "MultiMarginLoss": ({"p": 2}, (x, labels)), "BCELoss": ({}, (1 / (1 + np.exp(-x)), p)),
        "BCEWithLogitsLoss": ({"pos_weight": abs(w)}, (x, p)),
        "NLLLoss": ({"weight": abs(w)}, (x, labels)), "CrossEntropyLoss": ({}, (x, labels)),
    }  # fmt: skip
    for name, (options, arrays) in made.items():
        kinds = (Tensor, gpudl.nn), (torch.tensor, torch.nn)
        results = []
        for tensor, module in kinds:
            given = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
            results.append(getattr(module, name)(**given)(*map(tensor, arrays)).detach().numpy())
        np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6, err_msg=name)
    assert repr(gpudl.nn.HuberLoss()) == "HuberLoss(reduction='mean', delta=1.0)"
