"""How losses are reduced to one number, with PyTorch's deprecated arguments."""

from __future__ import annotations

import sys
import warnings
from typing import Any, cast

import numpy as np

from gpudl.autograd.tensor import Tensor

REDUCTIONS = {"mean": (True, True), "sum": (True, False), "none": (False, False)}


def reduction_of(name: str, size_average: Any, reduce: Any, reduction: str) -> str:
    """The reduction that PyTorch's deprecated size_average and reduce mean; given, they warn and
    overrule reduction: reduce=False is "none", size_average=False "sum", anything else "mean".

    Raises TypeError unless both are True, False or None: a reduction passed by position, in gpudl's
    old order, would land here.
    """
    if size_average is None and reduce is None:
        return reduction
    for argument, value in (("size_average", size_average), ("reduce", reduce)):
        if isinstance(value, str):
            raise TypeError(f'{name}: {argument} is "{value}"; pass reduction="{value}"')
        if value is not None and not isinstance(value, (bool, np.bool_)):
            raise TypeError(
                f"{name}: {argument} is {value!r}; it must be True, False or None (pass options "
                "by name)"
            )
    averaged, one = (value is None or bool(value) for value in (size_average, reduce))
    meant = "none" if not one else "mean" if averaged else "sum"
    warnings.warn(
        f'{name}: size_average and reduce are deprecated; pass reduction="{meant}"',
        stacklevel=_level_of_user(),
    )
    return meant


def reduction_fields(name: str, reduction: str, others: str = "") -> tuple[bool, bool]:
    """The fields (reduced, averaged) of a loss. others: more reductions to list in the error."""
    if reduction not in REDUCTIONS:
        words = f"it must be {others}mean, sum or none"
        raise ValueError(f"{name}: reduction is {reduction!r}; {words}")
    return REDUCTIONS[reduction]


def reduced(name: str, losses: Tensor, reduction: str) -> Tensor:
    """Reduce the losses of a function that has no operator."""
    one, averaged = reduction_fields(name, reduction)
    x = cast(Any, losses)
    return x.mean() if averaged else x.sum() if one else x  # type: ignore[no-any-return]


def weighted(name: str, losses: Tensor, weight: Tensor, reduction: str, by_weight: bool) -> Tensor:
    """Reduce losses times weight, of the same shape. by_weight: the mean divides by the sum of the
    weights, not by their number."""
    if tuple(weight.shape) != tuple(losses.shape):
        raise ValueError(
            f"{name}: weight has shape {tuple(weight.shape)}; it must have input's, "
            f"{tuple(losses.shape)}"
        )
    products = cast(Any, losses) * weight
    if reduction == "mean" and by_weight:
        return products.sum() / cast(Any, weight).sum()  # type: ignore[no-any-return]
    return reduced(name, products, reduction)


def _level_of_user() -> int:
    """The stack level, for `reduction_of`'s warning, of the code outside gpudl that called it."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith("gpudl."):
        level, frame = level + 1, frame.f_back
    return level
