"""Errors against float64: of all results where that is cheap, else of some entries.

A product of 8192x8192 matrices in float64 takes the CPU minutes; a hundred of its entries take a
moment and show the same error. Entries are named by slices, which NumPy's, CuPy's and PyTorch's
arrays understand alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gpudl.bench.workload import Workload
from gpudl.core.op import Array, Op, Spec, is_floating
from gpudl.devices.find import cpu

MOST = 1 << 22  # elements of the inputs up to which all results are computed
MOST_FLOPS = 100_000_000  # and operations, of products
PICKS = 6  # entries along an axis otherwise

Index = tuple[Any, ...]  # slices, an ellipsis


class Expected(NamedTuple):
    """What these entries of a result must be, in float64."""

    entries: Index
    values: Array

    def error(self, result: Any) -> float:
        """‖result - expected‖ / ‖expected‖; infinite where a result is not finite."""
        got = on_host(result[self.entries])
        if got.shape != self.values.shape or not np.isfinite(got).all():
            return float("inf")
        scale = float(np.linalg.norm(self.values))
        return float(np.linalg.norm(got - self.values)) / (scale or 1.0)


def on_host(array: Any) -> Array:
    """A NumPy array in float64 of NumPy's, CuPy's or PyTorch's."""
    if hasattr(array, "detach"):
        return np.asarray(array.detach().double().cpu().numpy())
    array = array.get() if hasattr(array, "get") else array
    return np.asarray(array).astype(np.float64)


def worst(expected: Mapping[str, Expected], results: Mapping[str, Any]) -> float | None:
    """The largest error of the results that an expectation is known of."""
    errors = [e.error(results[name]) for name, e in expected.items() if name in results]
    return max(errors, default=None)


def expect_forward(work: Workload, arrays: tuple[Any, ...]) -> dict[str, Expected]:
    """Of the first output; empty where it would take too long or is random."""
    if work.op.name in RANDOM:
        return {}
    sampled = SAMPLED_FORWARD.get(work.op.name)
    if sampled and plain(work.op, arrays) and not cheap(work.op, arrays):
        return {work.op.outputs[0]: sampled(work.op, *arrays)}
    cut, taken = sliced(work, arrays)
    if size(taken) > MOST:
        return {}
    changed, outputs = definition_forward(without_bits(work.op), taken)
    if not outputs:  # an update: what it changed
        return {name: Expected(index_of(cut, 1), array) for name, array in changed.items()}
    return {work.op.outputs[0]: Expected(index_of(cut, outputs[0].ndim), outputs[0])}


def expect_backward(
    work: Workload, arrays: tuple[Any, ...], dy: Array, direction: str
) -> dict[str, Expected]:
    """Of the gradients, by input."""
    op, needs = without_bits(work.op), work.needs(direction)
    wanted = [n for n, need in zip(op.inputs, needs, strict=True) if need]
    if op.name in RANDOM:
        return {}
    sampled = SAMPLED_BACKWARD.get(op.name)
    if sampled and plain(op, arrays) and not cheap(op, arrays):
        return sampled(op, dy, *arrays, wanted)
    cut, taken = sliced(work, arrays)
    if size(taken) > MOST:
        return {}
    _, outputs = definition_forward(op, taken)
    dy = dy[index_of(cut, dy.ndim)]
    dys = (wide(dy), *(None for _ in outputs[1:]))
    saved = op.save(taken, outputs, specs_of(taken), needs)
    gradients = cpu.backward(op, dys, saved, needs, "definition")
    found = {}
    for name, original, part, gradient in zip(op.inputs, arrays, taken, gradients, strict=True):
        follows = cut is None or part is None or part.shape != original.shape
        if name in wanted and gradient is not None and follows:
            along = index_of(cut if gradient.ndim > 1 else shifted(cut), gradient.ndim)
            found[name] = Expected(along, gradient)
    return found


class Cut(NamedTuple):
    """Every `slice`-th entry along an axis."""

    axis: int
    part: slice


def sliced(work: Workload, arrays: tuple[Any, ...]) -> tuple[Cut | None, tuple[Any, ...]]:
    """Fewer entries along the axis that results are independent along, all in float64."""
    axis = work.independent
    if axis is None or size(arrays) <= MOST:
        return None, tuple(map(wide, arrays))
    first = arrays[0]
    extent = first.shape[axis]
    picks = max(2, min(PICKS, MOST * extent // size(arrays)))
    cut = Cut(axis, spread(extent, picks))
    taken = []
    for a in arrays:
        if a is not None and a.ndim == first.ndim and a.shape[axis] == extent:
            a = a[index_of(cut, a.ndim)]
        elif a is not None and a.ndim == 1 and axis == 1:  # a number for each channel
            a = a[cut.part]
        taken.append(wide(a))
    return cut, tuple(taken)


def spread(extent: int, picks: int = PICKS) -> slice:
    """About `picks` entries from the first to near the last."""
    return slice(0, extent, max(1, (extent - 1) // (picks - 1)))


def index_of(cut: Cut | None, ndim: int) -> Index:
    if cut is None or ndim <= cut.axis:
        return (...,)
    return (*(slice(None),) * cut.axis, cut.part)


def shifted(cut: Cut | None) -> Cut | None:
    """For vectors, whose only axis is the one that is cut."""
    return None if cut is None else cut._replace(axis=0)


def without_bits(op: Op) -> Op:
    """Batch norm's mask is packed for kernels alone, and wants more channels than are picked."""
    fields = {name: getattr(op, name) for name in op.fields}
    return type(op)(**{**fields, "bits": False}) if fields.get("bits") else op


def definition_forward(op: Op, arrays: tuple[Any, ...]) -> tuple[dict[str, Array], tuple[Any, ...]]:
    """The inputs that the operator changes, as it leaves them, and its outputs."""
    copies = dict(zip(op.inputs, arrays, strict=True))
    copies.update({n: copies[n].copy() for n in op.mutates if copies[n] is not None})
    given = tuple(copies.values())
    outputs = cpu.forward(op, specs_of(given), given, "definition")
    return {n: copies[n] for n in op.mutates if copies[n] is not None}, outputs


def cheap(op: Op, arrays: tuple[Any, ...]) -> bool:
    """Can all results be computed in a moment?"""
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
    """Of the forms that entries are computed of one by one: no transposition, no activation, at
    most a bias beside the operands."""
    fields = {n: getattr(op, n) for n in op.fields}
    return not (
        fields.get("transpose_a")
        or fields.get("transpose_b")
        or fields.get("activation", "none") != "none"
        or any(fields.get("extra", ()))
        or any(a is not None for a in arrays[3:])
    )


# ------------------------------------------------------------------ products, entry by entry


def _matmul(op: Op, a: Array, b: Array) -> Expected:
    rows, columns = spread(a.shape[-2]), spread(b.shape[-1])
    return Expected((..., rows, columns), wide(a[..., rows, :]) @ wide(b[..., columns]))


def _matmul_back(op: Op, dy: Array, a: Array, b: Array, wanted: list[str]) -> dict[str, Expected]:
    rows, inner, columns = spread(a.shape[-2]), spread(a.shape[-1]), spread(b.shape[-1])
    found = {}
    if "a" in wanted:
        da = wide(dy[..., rows, :]) @ wide(b[..., inner, :]).swapaxes(-1, -2)
        found["a"] = Expected((..., rows, inner), da)
    if "b" in wanted:
        db = wide(a[..., inner]).swapaxes(-1, -2) @ wide(dy[..., columns])
        found["b"] = Expected((..., inner, columns), db)
    return found


def _linear(op: Op, x: Array, weight: Array, bias: Any) -> Expected:
    rows, outputs = spread(x.shape[0]), spread(len(weight))
    y = wide(x[rows]) @ wide(weight[outputs]).T
    return Expected((rows, outputs), y if bias is None else y + wide(bias[outputs]))


def _linear_back(
    op: Op, dy: Array, x: Array, weight: Array, bias: Any, wanted: list[str]
) -> dict[str, Expected]:
    rows, inner, outputs = spread(x.shape[0]), spread(x.shape[1]), spread(len(weight))
    found = {}
    if "x" in wanted:
        found["x"] = Expected((rows, inner), wide(dy[rows]) @ wide(weight[:, inner]))
    if "weight" in wanted:
        dweight = wide(dy[:, outputs]).T @ wide(x[:, inner])
        found["weight"] = Expected((outputs, inner), dweight)
    if "bias" in wanted:
        found["bias"] = Expected((outputs,), wide(dy[:, outputs]).sum(axis=0))
    return found


def _padded(op: Any, image: Array) -> Array:
    """(C, H, W) in float64 with its zeros around."""
    return np.pad(wide(image), ((0, 0), *((p, p) for p in op.padding)))


def _tap(op: Any, plane: Array, r: int, s: int, outputs: tuple[int, ...]) -> Array:
    """What element (r, s) of the window meets in (…, H, W), for each output pixel."""
    rows, columns = (
        slice(at * d, at * d + (n - 1) * stride + 1, stride)
        for at, d, n, stride in zip((r, s), op.dilation, outputs, op.stride, strict=True)
    )
    return plane[..., rows, columns]


def _conv2d(op: Any, x: Array, weight: Array, bias: Any, *absent: None) -> Expected:
    """Some pixels of the first and the last image, all channels."""
    y_shape = op.infer(*specs_of((x, weight, bias, *absent)))[0].shape
    images, rows, columns = spread(len(x), 2), spread(y_shape[2], 4), spread(y_shape[3], 4)
    grouped = wide(weight).reshape(op.groups, -1, *weight.shape[1:])
    found = []
    for image in x[images]:
        padded = _padded(op, image).reshape(op.groups, weight.shape[1], -1)
        planes = padded.reshape(*padded.shape[:2], image.shape[1] + 2 * op.padding[0], -1)
        y = np.zeros((len(weight), *np.empty(y_shape[2:], bool)[rows, columns].shape))
        for r, s in np.ndindex(*weight.shape[2:]):
            met = _tap(op, planes, r, s, y_shape[2:])[..., rows, columns]
            y += np.einsum("gkc,gcpq->gkpq", grouped[..., r, s], met).reshape(y.shape)
        found.append(y if bias is None else y + wide(bias)[:, None, None])
    return Expected((images, slice(None), rows, columns), np.stack(found))


def _conv2d_back(
    op: Any, dy: Array, x: Array, weight: Array, bias: Any, *others: Any
) -> dict[str, Expected]:
    *absent, wanted = others
    found = {}
    if "x" in wanted:
        images = spread(len(x), 2)
        few = wide(x[images]), wide(weight), None, *absent
        needs = (True, *(False for _ in few[1:]))
        saved = op.save(few, (dy[images],), specs_of(few), needs)
        gradients = cpu.backward(op, (wide(dy[images]),), saved, needs)
        found["x"] = Expected((images,), gradients[0])
    if "weight" in wanted:
        found["weight"] = _weight_gradient(op, dy, x, weight)
    if "bias" in wanted:
        sums = sum(wide(image).sum(axis=(1, 2)) for image in dy)
        found["bias"] = Expected((slice(None),), np.asarray(sums))
    return found


def _weight_gradient(op: Any, dy: Array, x: Array, weight: Array) -> Expected:
    """Of two filters and two channels, image by image."""
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
                met = _tap(op, planes, r, s, gradient.shape)
                result[i, :, r, s] += (met * gradient).sum(axis=(1, 2))
    return Expected(picked, result)


RANDOM = {"bernoulli", "dropout", "normal_fill", "uniform_fill", "integer_fill"}
SAMPLED_FORWARD: dict[str, Callable[..., Expected]] = {
    "matmul": _matmul, "linear": _linear, "conv2d": _conv2d
}  # fmt: skip
SAMPLED_BACKWARD: dict[str, Callable[..., dict[str, Expected]]] = {
    "matmul": _matmul_back, "linear": _linear_back, "conv2d": _conv2d_back
}  # fmt: skip
