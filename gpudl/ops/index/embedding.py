"""Embeddings: rows of a table by index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tape import is_grad_enabled
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.reduce.segments import sum_repeated
from gpudl.ops.reduce.sorting import SortOp

NO_ROW = -1
MOST_ELEMENTS = (1 << 31) - 1


class EmbeddingOp(Op):
    """y[…, :] = weight[index[…], :]. Kernels give NaN for indices out of range.

    order: the permutation that sorts index; only backward reads it. The gradient of a row is the
    sum over its positions in that order. Row padding_idx has no gradient (-1: every row has one).
    """

    inputs = ("weight", "index", "order")
    saves = ("index", "order")
    kernels = ("rows",)

    padding_idx: int = NO_ROW

    def infer(self, weight: Spec, index: Spec, order: Spec) -> tuple[Spec, ...]:
        require_float(self, weight=weight)
        fits = len(weight.shape) == 2 and 0 not in weight.shape
        require(fits, self, "weight", f"is {weight}; it must be (rows, columns), none of them 0")
        require(index.dtype == np.int64, self, "index", f"is {index}; it must be int64 (.long())")
        fits = order.dtype == np.int64 and order.shape == (index.size,)
        require(fits, self, "order", f"is {order}; it must be int64[{index.size}], index's argsort")
        fits = NO_ROW <= self.padding_idx < weight.shape[0]
        message = f"is {self.padding_idx}; it must be from -1 to {weight.shape[0] - 1}"
        require(fits, self, "padding_idx", message)
        y = Spec((*index.shape, weight.shape[1]), weight.dtype)
        for name, spec in (("weight", weight), ("y", y)):
            fits = spec.size <= MOST_ELEMENTS
            require(fits, self, name, f"is {spec}; it must have at most 2^31 - 1 elements")
        return (y,)

    def forward(self, xp: Any, weight: Any, index: Any, order: Any) -> tuple[Any, ...]:
        check_rows(index, len(weight))
        return (xp.take(weight, index, axis=0),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        rows, columns = saved.specs[0].shape
        flat = saved.index.reshape(-1)
        dweight = sum_repeated(np, dys[0].reshape(-1, columns), flat, rows)
        if self.padding_idx != NO_ROW:
            dweight[self.padding_idx] = 0
        return dweight, None, None

    def reduction(self, weight: Spec, index: Spec, order: Spec) -> int:
        return max(1, index.size)

    def cost(self, weight: Spec, index: Spec, order: Spec) -> Cost:
        (y,) = self.infer(weight, index, order)
        return Cost(0, 2 * y.size * y.dtype.itemsize + index.size * index.dtype.itemsize)

    def twin(self, torch: Any, weight: Any, index: Any, order: Any) -> Any:
        padding = None if self.padding_idx == NO_ROW else self.padding_idx
        return torch.nn.functional.embedding(index, weight, padding)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def rows(table: tuple[int, int], index: Any) -> Any:
            index = np.asarray(index, np.int64)
            order = np.argsort(index, axis=None, kind="stable").astype(np.int64)
            return lambda rng: (rng.standard_normal(table).astype(np.float32), index, order)

        draw = np.random.default_rng(5)
        yield Case("sentences", cls.of(), rows((7, 12), draw.integers(0, 7, (3, 5))))
        yield Case("odd columns", cls.of(), rows((5, 3), draw.integers(0, 5, 70)))
        often = np.where(draw.random(150) < 0.7, 2, draw.integers(0, 9, 150))
        yield Case("one row often", cls.of(), rows((9, 8), often))
        yield Case("one row always", cls.of(), rows((3, 4), np.full(101, 1)))
        yield Case("whole chunks", cls.of(), rows((4, 5), np.repeat([0, 2, 3], (32, 64, 32))))
        yield Case("padding, unused", cls.of(8), rows((9, 4), np.minimum(often[:40], 7)))
        yield Case("none", cls.of(), rows((4, 5), np.zeros((0, 3))))
        yield Case("scalar", cls.of(), rows((4, 5), 3))
        table = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
        index = np.array([2, 0, 2])
        golden = (np.array([[5, 6], [1, 2], [5, 6]], np.float32),)
        yield Case("by hand", cls.of(), lambda rng: (table, index, np.array([1, 0, 2])),
                   golden=golden)  # fmt: skip
        yield Case("outside", cls.of(), rows((4, 5), [4]), error="embedding: index is 4")
        yield Case("no such padding", cls.of(4), rows((4, 5), [1]), error="padding_idx is 4")
        yield Case("floats", cls.of(), lambda rng: (table, table, index), error="index is float32")


def check_rows(index: Any, rows: int) -> None:
    """Raise IndexError for indices out of range."""
    low, high = (index.min(), index.max()) if index.size else (0, 0)
    if low < 0 or high >= rows:
        bad = low if low < 0 else high
        raise IndexError(f"embedding: index is {bad}; weight has {rows} rows")


@public("functional")
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight by index: input (…) of integers, weight (rows, columns) -> (…, columns).

    padding_idx: a row that gets no gradient. Gradients of repeated rows are summed in a fixed
    order. Raises IndexError for an index out of range on cpu and emulator; on cuda it gives a row
    of NaN. Raises ValueError for max_norm, scale_grad_by_freq and sparse, which are not supported.
    """
    refused = {"max_norm": max_norm is not None, "sparse": sparse}
    refused["scale_grad_by_freq"] = scale_grad_by_freq
    for name, given in refused.items():
        if given:
            raise ValueError(f"embedding: {name} is not supported; leave it at its default")
    rows = weight.shape[0]
    padding = NO_ROW if padding_idx is None else padding_idx
    if padding_idx is not None and padding_idx < 0:
        padding = padding_idx + rows
    if padding_idx is not None and not 0 <= padding < rows:
        raise ValueError(
            f"embedding: padding_idx is {padding_idx}; it must be from {-rows} to {rows - 1}"
        )
    if input.dtype.kind not in "iu":
        raise TypeError(f"embedding: input is {input.dtype.name}; it must hold integers (.long())")
    index = input.long()
    if index.device.name == "emulator":  # checked here, since that needs no wait for a GPU
        check_rows(index.array, rows)
    flat = index.reshape((index.numel(),))
    order = (
        apply(SortOp.of(0, False), flat)[1] if weight.requires_grad and is_grad_enabled() else flat
    )
    return apply(EmbeddingOp.of(padding), weight, index, order)  # type: ignore[no-any-return]
