"""How operators run on tensors and are recorded on the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.autograd import tape, views
from gpudl.autograd.tape import OpNode
from gpudl.autograd.tensor import Tensor as Tensor
from gpudl.autograd.views import View
from gpudl.core.op import Array, Op, Plan
from gpudl.core.refuse import no_tensor
from gpudl.devices.find import Device, MetaArray


def apply(op: Op, *tensors: Tensor | None) -> Any:
    """Run an operator on tensors and record it. Returns a Tensor, or a tuple of them."""
    recording = tape._mode.recording
    arrays: list[Array | None] = []
    key: list[Any] = []
    device: Device | None = None
    taped = False
    for tensor in tensors:
        if tensor is None:
            arrays.append(None)
            key.append(None)
            continue
        try:
            data = tensor.array
        except AttributeError:
            raise _no_tensor(op, tensors) from None
        arrays.append(data)
        key.append(data.shape)
        key.append(data.dtype)
        if device is None:
            device = tensor.device
        elif tensor.device is not device:
            raise _devices_differ(op, tensors)
        if recording:
            if tensor._view is not None:
                tensor._view.refresh(tensor)
            if tensor._node is not None or tensor._requires_grad:
                taped = True
    if device is None:
        raise TypeError(f"{op.name}: takes at least one tensor")
    inputs = tuple(arrays)
    plan = op.plans.get(tuple(key))
    if plan is None:
        plan = op.plans[tuple(key)] = op.plan(inputs)
    outputs = (device.forward_wide if plan.wide else device.forward)(op, plan.specs, inputs)
    for name in op.mutates:
        changed = tensors[op.inputs.index(name)]
        if changed is not None:
            changed._cell[0] += 1
    node = _node(op, device, tensors, plan) if taped and op.differentiable else None
    results = _results(op, device, outputs, tensors[0], node, plan)
    if node is not None:
        _save(node, op, inputs, outputs, tensors, results, plan)
    return results[0] if len(results) == 1 else tuple(results)


_new = object.__new__


def _results(
    op: Op, device: Device, outputs: Any, source: Any, node: OpNode | None, plan: Plan
) -> list[Tensor]:
    """The outputs as tensors with their places on the tape. source: the tensor they may be views
    of, if the operator returns views."""
    results = []
    for index, y in enumerate(outputs):
        result = _new(Tensor)
        result.array = device.asarray(y) if isinstance(y, np.generic) else y
        result.device = device
        if op.view:
            _share(op, index, source, result)
        else:
            result._cell = [0]
        if node is not None and plan.floating_outputs[index]:
            result._node = node
            result._index = index
        results.append(result)
    return results


def _no_tensor(op: Op, tensors: tuple[Any, ...]) -> TypeError:
    places = zip(op.inputs, tensors, strict=False)
    name, given = next((n, t) for n, t in places if t is not None and not isinstance(t, Tensor))
    return no_tensor(op.name, name, given)


def _devices_differ(op: Op, tensors: tuple[Tensor | None, ...]) -> ValueError:
    places = [(n, t.device) for n, t in zip(op.inputs, tensors, strict=True) if t is not None]
    device = places[0][1]
    name, other = next(place for place in places if place[1] is not device)
    return ValueError(
        f"{op.name}: {name} is on {other}, {places[0][0]} on {device}; "
        f"move it with .to({str(device)!r})"
    )


def _share(op: Op, index: int, source: Any, result: Tensor) -> None:
    """Mark `result` as a view of `source` if it shares its memory."""
    result._cell = [0]
    if isinstance(result.array, MetaArray) or not views.share_memory(result.array, source.array):
        return
    root = source if source._view is None else source._view.root
    result._cell = source._cell
    result._view = View(source, op, index, root, tape._mode.recording)
    result._stamp = root._stamp


def _node(op: Op, device: Device, tensors: Any, plan: Plan) -> OpNode | None:
    edges = []
    taped = False
    for tensor, differentiable in zip(tensors, plan.differentiable, strict=True):
        edge = None
        if differentiable:
            if tensor._node is not None:
                edge = (tensor._node, tensor._index)
            elif tensor._requires_grad:
                edge = tensor
        taped = taped or edge is not None
        edges.append(edge)
    return OpNode(op, device, tuple(edges), None, wide=plan.wide) if taped else None


def _save(
    node: OpNode, op: Op, arrays: Any, outputs: Any, inputs: Any, results: Any, plan: Plan
) -> None:
    """Save what backward reads, with its version, to detect a later change in place."""
    node.saved = op.save(arrays, outputs, plan.specs, node.needs)
    if op.saves:
        versions = []
        for name, (is_input, i, _), kept in zip(op.saves, op._saved_from, node.saved, strict=False):
            tensor = inputs[i] if is_input else results[i]
            if kept is not None and tensor is not None:
                versions.append((name, tensor._cell, tensor._cell[0]))
        node.versions = versions
