"""Gradient clipping. Only error_if_nonfinite=True waits for the device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.ops.optimizer.clipping import ClipNormOp, ClipValueOp, VectorNormOp
from gpudl.ops.shape.joining import stack

Parameters = Tensor | Iterable[Tensor]


def _with_gradients(parameters: Parameters) -> list[Tensor]:
    many = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p for p in {id(p): p for p in many}.values() if p.grad is not None]


def _arrays(params: Sequence[Tensor]) -> list[Tensor]:
    """The gradients, as few arrays: one for all of an optimizer's parameters, if all are here and
    their gradients where backward puts them."""
    given = {id(p) for p in params}
    found: list[Tensor] = []
    seen: set[int] = set()  # parameters whose arena is in `found` already
    for p in params:
        if id(p) in seen:
            continue
        arena = p._grad_slot[2]() if p._grad_slot is not None else None
        if arena is not None and all(
            id(q) in given and q._grad is not None and q._grad.array is slot
            for q, slot in zip(arena.params, arena.slots, strict=True)
        ):
            found.append(arena.gradients)
            seen.update(map(id, arena.params))
        elif p.grad is not None:
            found.append(p.grad)
    return found


def _total(arrays: Sequence[Tensor], norm_type: float, error_if_nonfinite: bool) -> Tensor:
    if not arrays:
        return Tensor(0.0)
    op = VectorNormOp.of(float(norm_type))
    norms: list[Tensor] = [apply(op, a.detach()) for a in arrays]
    total: Tensor = norms[0] if len(norms) == 1 else apply(op, stack(norms))
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"clip_grad_norm_: the gradients' norm is {total.item()}; look for an infinite or "
            "NaN loss, or pass error_if_nonfinite=False"
        )
    return total


def get_total_norm(
    tensors: Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """The norm of all elements of all tensors as one vector: a scalar on the first one's device.

    norm_type: any p > 0, or math.inf for the largest magnitude. Sums are float64.
    """
    return _total(list(tensors), norm_type, error_if_nonfinite)


def clip_grads_with_norm_(parameters: Parameters, max_norm: float, total_norm: Tensor) -> None:
    """Scale all gradients in place by max_norm/(total_norm + 1e-6), at most by 1."""
    params = _with_gradients(parameters)
    _scale(params, _arrays(params), max_norm, total_norm)


def _scale(
    params: Sequence[Tensor], arrays: Sequence[Tensor], max_norm: float, total_norm: Tensor
) -> None:
    op = ClipNormOp.of(float(max_norm))
    for array in arrays:
        apply(op, array.detach(), total_norm.to(array.dtype))
    _changed(params)


def _changed(params: Sequence[Tensor]) -> None:
    """Record that the gradients changed in place."""
    for p in params:
        if p.grad is not None:
            p.grad._cell[0] += 1


def clip_grad_norm_(
    parameters: Parameters,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients in place so that their joint norm is at most max_norm; returns the norm
    before scaling.

    The factor is max_norm/(norm + 1e-6), at most 1 (Pascanu, Mikolov, Bengio 2013, algorithm 1).
    The gradients of an optimizer's parameters are one array: two kernels for the norm, one to
    scale. error_if_nonfinite: raise RuntimeError for an infinite or NaN norm; this waits for the
    device.
    """
    params = _with_gradients(parameters)
    arrays = _arrays(params)
    total = _total(arrays, norm_type, error_if_nonfinite)
    _scale(params, arrays, max_norm, total)
    return total


def clip_grad_value_(parameters: Parameters, clip_value: float) -> None:
    """Limit every element of every gradient in place to [-clip_value, clip_value]."""
    params = _with_gradients(parameters)
    op = ClipValueOp.of(float(clip_value))
    for array in _arrays(params):
        apply(op, array.detach())
    _changed(params)
