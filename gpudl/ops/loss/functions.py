"""Losses as functions of two or more tensors, under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.dtypes import float32, promote
from gpudl.core.op import is_small
from gpudl.core.public import public
from gpudl.ops.activation.pieces import relu
from gpudl.ops.loss import pairs as ops
from gpudl.ops.loss.binary import BinaryCrossEntropyOp, BinaryCrossEntropyWithLogitsOp
from gpudl.ops.loss.reduction import reduced, reduction_fields, reduction_of, weighted
from gpudl.ops.reduce.moments import norm


@public("functional")
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)², for equal shapes; reduction: "mean", "sum" or "none".

    weight: a factor per element, in input's shape; the mean then divides by the sum of the weights.
    All losses take PyTorch's deprecated size_average and reduce, which overrule reduction.
    """
    reduction = reduction_of("mse_loss", size_average, reduce, reduction)
    fields = reduction_fields("mse_loss", reduction)
    if weight is not None:
        losses = apply(ops.MseLossOp.of(False, False), input, target)
        return weighted("mse_loss", losses, weight, reduction, by_weight=True)
    return apply(ops.MseLossOp.of(*fields), input, target)  # type: ignore[no-any-return]


@public("functional")
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|, for equal shapes; reduction and weight as in mse_loss."""
    reduction = reduction_of("l1_loss", size_average, reduce, reduction)
    fields = reduction_fields("l1_loss", reduction)
    if weight is not None:
        losses = apply(ops.L1LossOp.of(False, False), input, target)
        return weighted("l1_loss", losses, weight, reduction, by_weight=True)
    return apply(ops.L1LossOp.of(*fields), input, target)  # type: ignore[no-any-return]


@public("functional")
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d²/(2·beta) if |d| < beta, else |d| - beta/2, with d = input - target (Girshick 2015)."""
    reduction = reduction_of("smooth_l1_loss", size_average, reduce, reduction)
    fields = reduction_fields("smooth_l1_loss", reduction)
    return apply(ops.SmoothL1LossOp.of(*fields, float(beta)), input, target)  # type: ignore[no-any-return]


@public("functional")
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """d²/2 if |d| <= delta, else delta·(|d| - delta/2), with d = input - target (Huber 1964).

    weight: a factor per element, in input's shape; the mean divides by the number of elements.
    """
    fields = reduction_fields("huber_loss", reduction)
    if weight is not None:
        losses = apply(ops.HuberLossOp.of(False, False, float(delta)), input, target)
        return weighted("huber_loss", losses, weight, reduction, by_weight=False)
    return apply(ops.HuberLossOp.of(*fields, float(delta)), input, target)  # type: ignore[no-any-return]


@public("functional")
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target · (log target - input): Kullback-Leibler divergence of target from exp(input).

    input: log-probabilities; target: probabilities, or log-probabilities with log_target.
    reduction: "batchmean" (sum / first extent, the mathematical definition), "mean", "sum" or
    "none".
    """
    reduction = reduction_of("kl_div", size_average, reduce, reduction)
    batch = reduction == "batchmean"
    fields = reduction_fields("kl_div", "sum" if batch else reduction, "batchmean, ")
    y: Any = apply(ops.KlDivOp.of(*fields, bool(log_target)), input, target)
    return y / input.shape[0] if batch else y  # type: ignore[no-any-return]


@public("functional")
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target · input)); target is 1 or -1."""
    reduction = reduction_of("soft_margin_loss", size_average, reduce, reduction)
    fields = reduction_fields("soft_margin_loss", reduction)
    return apply(ops.SoftMarginLossOp.of(*fields), input, target)  # type: ignore[no-any-return]


@public("functional")
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """For distances: input where target is 1, max(0, margin - input) where it is -1."""
    reduction = reduction_of("hinge_embedding_loss", size_average, reduce, reduction)
    fields = reduction_fields("hinge_embedding_loss", reduction)
    return apply(ops.HingeEmbeddingLossOp.of(*fields, float(margin)), input, target)  # type: ignore[no-any-return]


@public("functional")
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """rate - target·log(rate) for counts with rate exp(input). Without log_input the rate is input,
    with eps added inside the logarithm. full: add Stirling's log(target!) where target > 1."""
    reduction = reduction_of("poisson_nll_loss", size_average, reduce, reduction)
    fields = reduction_fields("poisson_nll_loss", reduction)
    op = ops.PoissonNllLossOp.of(*fields, bool(log_input), bool(full), float(eps))
    return apply(op, input, target)  # type: ignore[no-any-return]


@public("functional")
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log v + (input - target)²/v)/2, v = max(var, eps), for normal targets with mean input. full:
    add log(2π)/2. var broadcasts, or lacks input's last axis for one variance per row."""
    if isinstance(var, Tensor) and tuple(var.shape) == tuple(input.shape[:-1]) != ():
        var = cast(Any, var).reshape(*var.shape, 1)
    if not isinstance(var, Tensor):
        var = cast(Any, input) * 0 + var
    v: Any = var
    clamped = v + (v.detach().clamp(min=eps) - v.detach())  # keeps the gradient, as in PyTorch
    distance = cast(Any, input) - target
    loss = 0.5 * (clamped.log() + distance * distance / clamped)
    return reduced(
        "gaussian_nll_loss", loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction
    )


@public("functional")
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target·log(input) + (1 - target)·log(1 - input)) for probabilities; logarithms are clamped
    at -100. An input outside [0, 1] gives NaN. weight: a factor per element, which broadcasts."""
    reduction = reduction_of("binary_cross_entropy", size_average, reduce, reduction)
    fields = reduction_fields("binary_cross_entropy", reduction)
    weight = spread_over(input, weight, "binary_cross_entropy", "weight")
    return apply(BinaryCrossEntropyOp.of(*fields), input, target, weight)  # type: ignore[no-any-return]


@public("functional")
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy(sigmoid(input), target), without overflow.

    weight: a factor per element; pos_weight: a factor for the term of positive targets. Both
    broadcast to input's shape. reduction: "mean", "sum" or "none".
    """
    reduction = reduction_of("binary_cross_entropy_with_logits", size_average, reduce, reduction)
    name = "binary_cross_entropy_with_logits"
    fields = reduction_fields(name, reduction)
    weight = spread_over(input, weight, name, "weight")
    pos_weight = spread_over(input, pos_weight, name, "pos_weight")
    op = BinaryCrossEntropyWithLogitsOp.of(*fields)
    return apply(op, input, target, weight, pos_weight)  # type: ignore[no-any-return]


@public("functional")
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - target·(input1 - input2)): input1 should be larger if target is 1, smaller if
    it is -1."""
    reduction = reduction_of("margin_ranking_loss", size_average, reduce, reduction)
    a, b, t = (cast(Any, x) for x in (input1, input2, target))
    return reduced("margin_ranking_loss", relu(margin - t * (a - b)), reduction)


@public("functional")
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1·x2/(|x1|·|x2|) along dim, with norms clamped at eps. x1 and x2 broadcast."""
    shape = np.broadcast_shapes(tuple(x1.shape), tuple(x2.shape))
    kind = promote(x1.dtype, x2.dtype)
    wide = float32 if is_small(kind) else kind  # eps underflows in float16
    a, b = (x.expand(*shape).to(wide) for x in (x1, x2))
    a, b = (x / norm(x, 2, dim, keepdim=True).clamp(min=eps) for x in (a, b))
    return (a * b).sum(dim).to(kind)


@public("functional")
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1; inputs (N, D) or (D)."""
    reduction = reduction_of("cosine_embedding_loss", size_average, reduce, reduction)
    a, b, t = (cast(Any, x) for x in (input1, input2, target))
    eps = 1e-12  # inside the square root, as in PyTorch
    product = ((a * a).sum(-1) + eps) * ((b * b).sum(-1) + eps)
    cosine = (a * b).sum(-1) / product.sqrt()
    similar = (t == 1).to(cosine.dtype) * (1 - cosine)
    return reduced(
        "cosine_embedding_loss",
        similar + (t == -1).to(cosine.dtype) * relu(cosine - margin),
        reduction,
    )


@public("functional")
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Multi-class hinge loss: Σ of weight[t]·max(0, margin - x[t] + x[c])^p / C over all classes c
    except the label t (Crammer and Singer 2001).

    input: (N, C) or (C); target: int64 labels (N) or (). p: 1 or 2. Raises IndexError on the cpu
    for a label out of range.
    """
    reduction = reduction_of("multi_margin_loss", size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p is {p}; it must be 1 or 2")
    x, t = cast(Any, input), cast(Any, target)
    rows, labels = x.reshape(-1, x.shape[-1]), t.reshape(-1, 1)
    terms = relu(margin - rows.gather(1, labels) + rows)
    if p == 2:
        terms = terms * terms
    if weight is not None:
        terms = terms * cast(Any, weight).gather(0, labels.reshape(-1)).reshape(-1, 1)
    own: Any = max(margin, 0.0) ** p
    if weight is not None:
        own = cast(Any, weight).gather(0, labels.reshape(-1)) * own
    losses = (cast(Any, terms).sum(1) - own) / x.shape[
        -1
    ]  # subtract the label's own term, max(0, margin)^p
    return reduced("multi_margin_loss", losses.reshape(t.shape), reduction)


def spread_over(input: Tensor, weight: Tensor | None, name: str, what: str) -> Tensor | None:
    """The weights, broadcast to input's shape."""
    if weight is None or tuple(weight.shape) == tuple(input.shape):
        return weight
    try:
        return cast(Any, weight).expand(*input.shape)  # type: ignore[no-any-return]
    except ValueError:
        raise ValueError(
            f"{name}: {what} has shape {tuple(weight.shape)}; it must broadcast to input "
            f"{tuple(input.shape)}"
        ) from None
