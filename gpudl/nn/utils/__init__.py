"""Gradient clipping. Only error_if_nonfinite=True waits for the device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor, tensor
from gpudl.core.layout import is_dense, stored_order
from gpudl.core.op import is_small
from gpudl.devices.base import quietly
from gpudl.devices.find import NativeDevice
from gpudl.nn.utils import rnn as rnn
from gpudl.ops.optimizer.blocks import tables_of
from gpudl.ops.optimizer.clipping import ClipNormOp, ClipValueOp, VectorNormOp
from gpudl.ops.shape.joining import stack

Parameters = Tensor | Iterable[Tensor]


def _gradients(parameters: Parameters) -> list[Tensor]:
    many = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in {id(p): p for p in many}.values() if p.grad is not None]


def _over(
    op: VectorNormOp | ClipNormOp | ClipValueOp, tensors: Sequence[Tensor], *rest: Tensor
) -> list[Any]:
    """Apply the operator to all tensors, which share device and dtype; in one launch if there are
    kernels."""
    device, dtype = tensors[0].device, tensors[0].dtype
    arrays = [t.array for t in tensors]
    if device.name == "cpu" and not is_small(dtype):
        result = quietly(op.over, np, arrays, *(t.array for t in rest))
        return [] if result is None else [Tensor(result.astype(dtype))]
    if not isinstance(device, NativeDevice) or dtype != np.float32:
        return [apply(op, t.detach(), *rest, None, None) for t in tensors]
    dense = [a if is_dense(a, stored_order(a)) else a.copy() for a in arrays]
    x, rows, blocks = tables_of(device, dense)
    result = apply(op, x, *rest, rows, blocks)
    for array, copy in zip(arrays, dense, strict=True):
        if copy is not array and op.mutates:
            array[...] = copy
    return [result]


def _alike(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Tensors grouped by device and dtype."""
    found: dict[Any, list[Tensor]] = {}
    for t in tensors:
        found.setdefault((t.device.name, t.dtype), []).append(t)
    return list(found.values())


def _total(tensors: Sequence[Tensor], norm_type: float, error_if_nonfinite: bool) -> Tensor:
    if not tensors:
        return tensor(0.0)
    op = VectorNormOp.of(float(norm_type))
    norms: list[Tensor] = [norm for alike in _alike(tensors) for norm in _over(op, alike)]
    if len(norms) > 1:
        norms = _over(op, [stack([n.to(norms[0].device) for n in norms])])
    total = norms[0]
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
    _scale(_gradients(parameters), max_norm, total_norm)


def _scale(gradients: Sequence[Tensor], max_norm: float, total_norm: Tensor) -> None:
    op = ClipNormOp.of(float(max_norm))
    for alike in _alike(gradients):
        _over(op, alike, total_norm.to(alike[0].dtype, device=alike[0].device))
    _changed(gradients)


def _changed(gradients: Sequence[Tensor]) -> None:
    """Record that the gradients were changed in place."""
    for gradient in gradients:
        gradient._cell[0] += 1


def clip_grad_norm_(
    parameters: Parameters,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients in place so that their joint norm is at most max_norm; returns the norm
    before scaling.

    The factor is max_norm/(norm + 1e-6), at most 1 (Pascanu, Mikolov, Bengio 2013, algorithm 1).
    On a device with kernels, two of them compute the norm of all gradients and one scales them.
    error_if_nonfinite: raise RuntimeError for an infinite or NaN norm; this waits for the device.
    """
    gradients = _gradients(parameters)
    total = _total(gradients, norm_type, error_if_nonfinite)
    _scale(gradients, max_norm, total)
    return total


def clip_grad_value_(parameters: Parameters, clip_value: float) -> None:
    """Limit every element of every gradient in place to [-clip_value, clip_value]."""
    gradients = _gradients(parameters)
    op = ClipValueOp.of(float(clip_value))
    for alike in _alike(gradients):
        _over(op, alike)
    _changed(gradients)
