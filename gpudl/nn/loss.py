"""Losses as modules; each calls the function of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module
from gpudl.ops.loss import functions
from gpudl.ops.loss.cross_entropy import cross_entropy, nll_loss
from gpudl.ops.loss.reduction import reduction_of

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
]


class Loss(Module):
    """A module that calls `function(*inputs, **options)`; `options` are attributes of the
    module."""

    function: ClassVar[Callable[..., Tensor]]
    options: tuple[str, ...] = ("reduction",)

    def _keep(self, **options: Any) -> None:
        """Store the function's options, weights as buffers. Called by __init__."""
        Module.__init__(self)
        self.options = tuple(options)
        for name, value in options.items():
            if name in ("weight", "pos_weight"):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Tensor) -> Tensor:
        return type(self).function(*inputs, **{name: getattr(self, name) for name in self.options})

    def extra_repr(self) -> str:
        shown = ((name, getattr(self, name)) for name in self.options)
        return ", ".join(f"{n}={v!r}" for n, v in shown if not isinstance(v, (Tensor, type(None))))


class MSELoss(Loss):
    """(input - target)²; reduction "mean", "sum" or "none"."""

    function = functions.mse_loss

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("MSELoss", size_average, reduce, reduction)
        self._keep(reduction=reduction)


class L1Loss(Loss):
    """|input - target|."""

    function = functions.l1_loss

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("L1Loss", size_average, reduce, reduction)
        self._keep(reduction=reduction)


class SmoothL1Loss(Loss):
    """d²/(2·beta) where |d| < beta, else |d| - beta/2, with d = input - target."""

    function = functions.smooth_l1_loss

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        reduction = reduction_of("SmoothL1Loss", size_average, reduce, reduction)
        self._keep(reduction=reduction, beta=beta)


class HuberLoss(Loss):
    """d²/2 where |d| <= delta, else delta·(|d| - delta/2), with d = input - target."""

    function = functions.huber_loss

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self._keep(reduction=reduction, delta=delta)


class KLDivLoss(Loss):
    """target · (log target - input); reduction "batchmean", "mean", "sum" or "none"."""

    function = functions.kl_div

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        reduction = reduction_of("KLDivLoss", size_average, reduce, reduction)
        self._keep(reduction=reduction, log_target=log_target)


class SoftMarginLoss(Loss):
    """log(1 + exp(-target · input)), target 1 or -1."""

    function = functions.soft_margin_loss

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("SoftMarginLoss", size_average, reduce, reduction)
        self._keep(reduction=reduction)


class HingeEmbeddingLoss(Loss):
    """input where target is 1, max(0, margin - input) where it is -1."""

    function = functions.hinge_embedding_loss

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("HingeEmbeddingLoss", size_average, reduce, reduction)
        self._keep(margin=margin, reduction=reduction)


class MarginRankingLoss(Loss):
    """max(0, margin - target·(input1 - input2))."""

    function = functions.margin_ranking_loss

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("MarginRankingLoss", size_average, reduce, reduction)
        self._keep(margin=margin, reduction=reduction)


class MultiMarginLoss(Loss):
    """The multi-class hinge loss of scores (N, C) and class indices (N)."""

    function = functions.multi_margin_loss

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("MultiMarginLoss", size_average, reduce, reduction)
        self._keep(p=p, margin=margin, weight=weight, reduction=reduction)


class CosineEmbeddingLoss(Loss):
    """1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1."""

    function = functions.cosine_embedding_loss

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("CosineEmbeddingLoss", size_average, reduce, reduction)
        self._keep(margin=margin, reduction=reduction)


class CosineSimilarity(Loss):
    """x1·x2/(|x1|·|x2|) along dim."""

    function = functions.cosine_similarity

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self._keep(dim=dim, eps=eps)


class PoissonNLLLoss(Loss):
    """rate - target·log(rate) with rate = exp(input), or input if log_input is False."""

    function = functions.poisson_nll_loss

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("PoissonNLLLoss", size_average, reduce, reduction)
        self._keep(log_input=log_input, full=full, eps=eps, reduction=reduction)


class GaussianNLLLoss(Loss):
    """(log var + (input - target)²/var)/2; called with (input, target, var)."""

    function = functions.gaussian_nll_loss

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        self._keep(full=full, eps=eps, reduction=reduction)


class BCELoss(Loss):
    """-(target·log(input) + (1 - target)·log(1 - input)) for probabilities."""

    function = functions.binary_cross_entropy

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("BCELoss", size_average, reduce, reduction)
        self._keep(weight=weight, reduction=reduction)


class BCEWithLogitsLoss(Loss):
    """BCELoss of sigmoid(input), without overflow; pos_weight scales the positive term."""

    function = functions.binary_cross_entropy_with_logits

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        reduction = reduction_of("BCEWithLogitsLoss", size_average, reduce, reduction)
        self._keep(weight=weight, reduction=reduction, pos_weight=pos_weight)


class NLLLoss(Loss):
    """-input[target] for log-probabilities (N, C, …) and class indices (N, …)."""

    function = nll_loss

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        reduction = reduction_of("NLLLoss", size_average, reduce, reduction)
        self._keep(weight=weight, ignore_index=ignore_index, reduction=reduction)


class CrossEntropyLoss(Loss):
    """-log softmax(input)[target] for logits (N, C, …) and class indices (N, …) or probabilities
    (N, C, …)."""

    function = cross_entropy

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        reduction = reduction_of("CrossEntropyLoss", size_average, reduce, reduction)
        self._keep(
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, label_smoothing={self.label_smoothing}"
