"""Errors against float64: of whole results if that is cheap, otherwise of sampled entries.

A product of 8192x8192 matrices in float64 takes minutes on the CPU; a hundred of its entries take a
moment and show the same error. Slices select the entries, because NumPy, CuPy and PyTorch all index
by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gpudl.bench.workload import Workload
from gpudl.core.op import Array, Op, Spec, is_floating
from gpudl.devices.find import cpu

MOST = 1 << 22  # input elements up to which the whole result is computed
MOST_FLOPS = 100_000_000  # operations of a product up to which the whole result is computed
PICKS = 6  # otherwise, entries sampled along an axis

Index = tuple[Any, ...]  # slices and an ellipsis


class Expected(NamedTuple):
    """The expected values of some entries of a result, in float64."""

    entries: Index
    values: Array

    def error(self, result: Any) -> float:
        """‖result - expected‖ / ‖expected‖; infinite if a result is not finite."""
        actual = on_host(result[self.entries])
        if actual.shape != self.values.shape or not np.isfinite(actual).all():
            return float("inf")
        scale = float(np.linalg.norm(self.values))
        return float(np.linalg.norm(actual - self.values)) / (scale or 1.0)


def on_host(array: Any) -> Array:
    """A NumPy, CuPy or PyTorch array as a NumPy array of float64."""
    if hasattr(array, "detach"):
        return np.asarray(array.detach().double().cpu().numpy())
    array = array.get() if hasattr(array, "get") else array
    return np.asarray(array).astype(np.float64)


def worst(expected: Mapping[str, Expected], results: Mapping[str, Any]) -> float | None:
    """The largest error among the results with expected values; None if there are none."""
    errors = [e.error(results[name]) for name, e in expected.items() if name in results]
    return max(errors, default=None)


def expect_forward(work: Workload, arrays: tuple[Any, ...]) -> dict[str, Expected]:
    """Expected entries of the first output; empty if it is random or would take too long."""
    if is_drawn(work.op):
        return {}
    sampled = SAMPLED_FORWARD.get(work.op.name)
    if sampled and plain(work.op, arrays) and not cheap(work.op, arrays):
        return {work.op.outputs[0]: sampled(work.op, *arrays)}
    cut, parts = sliced(work, arrays)
    if size(parts) > MOST:
        return {}
    changed, outputs = definition_forward(without_bits(work.op), parts)
    if not outputs:  # an update changes its inputs instead
        return {name: Expected(index_of(cut, 1), array) for name, array in changed.items()}
    return {work.op.outputs[0]: Expected(index_of(cut, outputs[0].ndim), outputs[0])}


def expect_backward(
    work: Workload, arrays: tuple[Any, ...], dy: Array, direction: str
) -> dict[str, Expected]:
    """Expected entries of the gradients, by input."""
    op, needs = without_bits(work.op), work.needs(direction)
    wanted = [n for n, need in zip(op.inputs, needs, strict=True) if need]
    if is_drawn(op):
        return {}
    sampled = SAMPLED_BACKWARD.get(op.name)
    if sampled and plain(op, arrays) and not cheap(op, arrays):
        return sampled(op, dy, *arrays, wanted)
    cut, parts = sliced(work, arrays)
    if size(parts) > MOST:
        return {}
    _, outputs = definition_forward(op, parts)
    dy = dy[index_of(cut, dy.ndim)]
    dys = (wide(dy), *(None for _ in outputs[1:]))
    saved = op.save(parts, outputs, specs_of(parts), needs)
    gradients = cpu.backward(op, dys, saved, needs, "definition")
    expected = {}
    for name, original, part, gradient in zip(op.inputs, arrays, parts, gradients, strict=True):
        complete = cut is None or part is None or part.shape != original.shape
        if name in wanted and gradient is not None and complete:
            index = index_of(cut if gradient.ndim > 1 else shifted(cut), gradient.ndim)
            expected[name] = Expected(index, gradient)
    return expected


def is_drawn(op: Op) -> bool:
    """Whether the first output is random; the numbers then depend on an element's position."""
    return "counter" in op.inputs and len(op.outputs) == 1


class Cut(NamedTuple):
    """The slice `part` along an axis."""

    axis: int
    part: slice


def sliced(work: Workload, arrays: tuple[Any, ...]) -> tuple[Cut | None, tuple[Any, ...]]:
    """The inputs in float64, cut to a few entries along the axis of independent results."""
    axis = work.independent
    if axis is None or size(arrays) <= MOST:
        return None, tuple(map(wide, arrays))
    first = arrays[0]
    extent = first.shape[axis]
    picks = max(2, min(PICKS, MOST * extent // size(arrays)))
    cut = Cut(axis, spread(extent, picks))
    parts = []
    for a in arrays:
        if a is not None and a.ndim == first.ndim and a.shape[axis] == extent:
            a = a[index_of(cut, a.ndim)]
        elif a is not None and a.ndim == 1 and axis == 1:  # one number per channel
            a = a[cut.part]
        parts.append(wide(a))
    return cut, tuple(parts)


def spread(extent: int, picks: int = PICKS) -> slice:
    """A slice of about `picks` entries, evenly spaced."""
    return slice(0, extent, max(1, (extent - 1) // (picks - 1)))


def index_of(cut: Cut | None, ndim: int) -> Index:
    if cut is None or ndim <= cut.axis:
        return (...,)
    return (*(slice(None),) * cut.axis, cut.part)


def shifted(cut: Cut | None) -> Cut | None:
    """The same cut for a vector, along its only axis."""
    return None if cut is None else cut._replace(axis=0)


def without_bits(op: Op) -> Op:
    """Batch norm without its packed mask, which only kernels use and which needs more channels than
    are sampled."""
    fields = {name: getattr(op, name) for name in op.fields}
    return type(op)(**{**fields, "bits": False}) if fields.get("bits") else op


def definition_forward(op: Op, arrays: tuple[Any, ...]) -> tuple[dict[str, Array], tuple[Any, ...]]:
    """The inputs that the operator mutates, after the call, and its outputs."""
    copies = dict(zip(op.inputs, arrays, strict=True))
    copies.update({n: copies[n].copy() for n in op.mutates if copies[n] is not None})
    inputs = tuple(copies.values())
    outputs = cpu.forward(op, specs_of(inputs), inputs, "definition")
    return {n: copies[n] for n in op.mutates if copies[n] is not None}, outputs


def cheap(op: Op, arrays: tuple[Any, ...]) -> bool:
    """Whether the whole result can be computed quickly."""
    return size(arrays) <= MOST and op.cost(*specs_of(arrays)).flops <= MOST_FLOPS


def specs_of(arrays: tuple[Any, ...]) -> tuple[Spec | None, ...]:
    return tuple(None if a is None else Spec(a.shape, a.dtype) for a in arrays)


def size(arrays: tuple[Any, ...]) -> int:
    return sum(a.size for a in arrays if a is not None)


def wide(array: Any) -> Any:
    if array is None or not is_floating(array.dtype):
        return array
    return array.astype(np.float64, copy=False)


def plain(op: Op, arrays: tuple[Any, ...]) -> bool:
    """Whether single entries can be computed: no transposition, no activation, and no extra operand
    except a bias."""
    fields = {n: getattr(op, n) for n in op.fields}
    return not (
        fields.get("transpose_a")
        or fields.get("transpose_b")
        or fields.get("activation", "none") != "none"
        or any(fields.get("extra", ()))
        or any(a is not None for a in arrays[3:])
    )


# ------------------------------------------------------------------ sampled entries of products


def _matmul(op: Op, a: Array, b: Array) -> Expected:
    rows, columns = spread(a.shape[-2]), spread(b.shape[-1])
    return Expected((..., rows, columns), wide(a[..., rows, :]) @ wide(b[..., columns]))


def _matmul_back(op: Op, dy: Array, a: Array, b: Array, wanted: list[str]) -> dict[str, Expected]:
    rows, inner, columns = spread(a.shape[-2]), spread(a.shape[-1]), spread(b.shape[-1])
    expected = {}
    if "a" in wanted:
        da = wide(dy[..., rows, :]) @ wide(b[..., inner, :]).swapaxes(-1, -2)
        expected["a"] = Expected((..., rows, inner), da)
    if "b" in wanted:
        db = wide(a[..., inner]).swapaxes(-1, -2) @ wide(dy[..., columns])
        expected["b"] = Expected((..., inner, columns), db)
    return expected


def _linear(op: Op, x: Array, weight: Array, bias: Any) -> Expected:
    rows, outputs = spread(x.shape[0]), spread(len(weight))
    y = wide(x[rows]) @ wide(weight[outputs]).T
    return Expected((rows, outputs), y if bias is None else y + wide(bias[outputs]))


def _linear_back(
    op: Op, dy: Array, x: Array, weight: Array, bias: Any, wanted: list[str]
) -> dict[str, Expected]:
    rows, inner, outputs = spread(x.shape[0]), spread(x.shape[1]), spread(len(weight))
    expected = {}
    if "x" in wanted:
        expected["x"] = Expected((rows, inner), wide(dy[rows]) @ wide(weight[:, inner]))
    if "weight" in wanted:
        dweight = wide(dy[:, outputs]).T @ wide(x[:, inner])
        expected["weight"] = Expected((outputs, inner), dweight)
    if "bias" in wanted:
        expected["bias"] = Expected((outputs,), wide(dy[:, outputs]).sum(axis=0))
    return expected


def _padded(op: Any, image: Array) -> Array:
    """An image (C, H, W) in float64 with its zero padding."""
    return np.pad(wide(image), ((0, 0), *((p, p) for p in op.padding)))


def _tap(op: Any, plane: Array, r: int, s: int, outputs: tuple[int, ...]) -> Array:
    """The element of `plane` (…, H, W) that window element (r, s) reads for each output pixel."""
    rows, columns = (
        slice(at * d, at * d + (n - 1) * stride + 1, stride)
        for at, d, n, stride in zip((r, s), op.dilation, outputs, op.stride, strict=True)
    )
    return plane[..., rows, columns]


def _conv2d(op: Any, x: Array, weight: Array, bias: Any, *absent: None) -> Expected:
    """Sampled pixels of the first and the last image, all channels."""
    y_shape = op.infer(*specs_of((x, weight, bias, *absent)))[0].shape
    images, rows, columns = spread(len(x), 2), spread(y_shape[2], 4), spread(y_shape[3], 4)
    grouped = wide(weight).reshape(op.groups, -1, *weight.shape[1:])
    results = []
    for image in x[images]:
        padded = _padded(op, image).reshape(op.groups, weight.shape[1], -1)
        planes = padded.reshape(*padded.shape[:2], image.shape[1] + 2 * op.padding[0], -1)
        y = np.zeros((len(weight), *np.empty(y_shape[2:], bool)[rows, columns].shape))
        for r, s in np.ndindex(*weight.shape[2:]):
            read = _tap(op, planes, r, s, y_shape[2:])[..., rows, columns]
            y += np.einsum("gkc,gcpq->gkpq", grouped[..., r, s], read).reshape(y.shape)
        results.append(y if bias is None else y + wide(bias)[:, None, None])
    return Expected((images, slice(None), rows, columns), np.stack(results))


def _conv2d_back(
    op: Any, dy: Array, x: Array, weight: Array, bias: Any, *others: Any
) -> dict[str, Expected]:
    *absent, wanted = others
    expected = {}
    if "x" in wanted:
        images = spread(len(x), 2)
        few = wide(x[images]), wide(weight), None, *absent
        needs = (True, *(False for _ in few[1:]))
        saved = op.save(few, (dy[images],), specs_of(few), needs)
        gradients = cpu.backward(op, (wide(dy[images]),), saved, needs)
        expected["x"] = Expected((images,), gradients[0])
    if "weight" in wanted:
        expected["weight"] = _weight_gradient(op, dy, x, weight)
    if "bias" in wanted:
        sums = sum(wide(image).sum(axis=(1, 2)) for image in dy)
        expected["bias"] = Expected((slice(None),), np.asarray(sums))
    return expected


def _weight_gradient(op: Any, dy: Array, x: Array, weight: Array) -> Expected:
    """The weight gradient of two filters and two channels, image by image."""
    per_group, channels = len(weight) // op.groups, weight.shape[1]
    picked = spread(len(weight), 2), spread(channels, 2)
    filters = range(*picked[0].indices(len(weight)))
    inputs = range(*picked[1].indices(channels))
    result = np.zeros((len(filters), len(inputs), *weight.shape[2:]))
    for image, dimage in zip(x, dy, strict=True):
        for i, k in enumerate(filters):
            group = k // per_group * channels
            planes = _padded(op, image[[group + c for c in inputs]])
            gradient = wide(dimage[k])
            for r, s in np.ndindex(*weight.shape[2:]):
                read = _tap(op, planes, r, s, gradient.shape)
                result[i, :, r, s] += (read * gradient).sum(axis=(1, 2))
    return Expected(picked, result)


SAMPLED_FORWARD: dict[str, Callable[..., Expected]] = {
    "matmul": _matmul, "linear": _linear, "conv2d": _conv2d
}  # fmt: skip
SAMPLED_BACKWARD: dict[str, Callable[..., dict[str, Expected]]] = {
    "matmul": _matmul_back, "linear": _linear_back, "conv2d": _conv2d_back
}  # fmt: skip
