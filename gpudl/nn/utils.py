"""Clipping of gradients. Nothing here waits for the device unless told to look at the norm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from gpudl.tensor import Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    many = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in {id(p): p for p in many}.values() if p.grad is not None]


def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0) -> Tensor:
    """The norm of all elements of all tensors as one vector: a scalar on the first one's device.

    norm_type: any p > 0, or math.inf for the largest magnitude. Sums are float64.
    """
    many = list(tensors)
    if not many:
        return Tensor(0.0)
    where = many[0].device
    xp = where.xp
    if norm_type == math.inf:
        total = xp.stack([abs(t.data).max() if t.numel() else xp.zeros(()) for t in many]).max()
    else:
        powers = (abs(t.data.astype(xp.float64)) ** norm_type for t in many)
        total = sum(x.sum() for x in powers) ** (1 / norm_type)
    return Tensor._wrap(xp.asarray(total).astype(many[0].dtype), where)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients in place so that their common norm is at most max_norm; returns the norm
    before.

    The factor is max_norm/(norm + 1e-6), at most 1 (Pascanu, Mikolov, Bengio 2013, algorithm 1).
    Raises RuntimeError for a norm that is not finite, if asked to (that waits for the device).
    """
    gradients = _gradients(parameters)
    total = get_total_norm(gradients, norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"clip_grad_norm_: the gradients' norm is {total.item()}; look for an infinite or "
            "NaN loss, or pass error_if_nonfinite=False"
        )
    factor: Any = total.device.xp.minimum(max_norm / (total.data + 1e-6), 1)
    for g in gradients:
        g.data *= factor.astype(g.dtype)
        g._cell[0] += 1
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient in place to [-clip_value, clip_value]."""
    for g in _gradients(parameters):
        g.device.xp.clip(g.data, -clip_value, clip_value, out=g.data)
        g._cell[0] += 1
