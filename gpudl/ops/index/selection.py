"""Parts of tensors and products of vectors under PyTorch's names, composed of other operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor, tensor
from gpudl.core.public import Number, public
from gpudl.ops.index import slices
from gpudl.ops.index.scatter import scatter_add
from gpudl.ops.matrix.matmul import matmul


def _axis(name: str, x: Tensor, dim: int) -> int:
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(
            f"{name}: dim is {dim}; it must be from {-x.ndim} to {x.ndim - 1} for {x.ndim} axes"
        )
    return dim % x.ndim


@public("gpudl", "Tensor")
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Elements start … start + length - 1 along `dim`, as a view."""
    axis = _axis("narrow", input, dim)
    extent = input.shape[axis]
    first = start + extent if start < 0 else start
    if length < 0 or not 0 <= first <= extent - length:
        raise IndexError(
            f"narrow: start {start} and length {length} do not fit axis {dim} of {extent} elements"
        )
    return input[(slice(None),) * axis + (slice(first, first + length),)]


@public("gpudl", "Tensor")
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at `index` along `dim`, without that axis, as a view."""
    axis = _axis("select", input, dim)
    return input[(slice(None),) * axis + (int(index),)]


@public("Tensor")
def where(self: Tensor, condition: Tensor, other: Tensor | Number) -> Tensor:
    """self where condition is true, else other."""
    return slices.where(condition, self, other)


def _bands(name: str, x: Tensor, diagonal: int, lower: bool) -> Tensor:
    if x.ndim < 2:
        raise ValueError(f"{name}: input has shape {list(x.shape)}; it must have at least 2 axes")
    rows, columns = x.shape[-2:]
    keep = np.tri(rows, columns, diagonal if lower else diagonal - 1, dtype=bool)
    mask = tensor(keep if lower else ~keep, device=x.device)
    return slices.where(mask, x, 0)


@public("gpudl", "Tensor")
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and below a diagonal of each matrix, zero elsewhere."""
    return _bands("tril", input, diagonal, lower=True).to(input.dtype)


@public("gpudl", "Tensor")
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and above a diagonal of each matrix, zero elsewhere."""
    return _bands("triu", input, diagonal, lower=False).to(input.dtype)


@public("gpudl", "Tensor")
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements (i, i + offset) of two axes, as the last axis of a copy."""
    first, second = _axis("diagonal", input, dim1), _axis("diagonal", input, dim2)
    if first == second:
        raise ValueError(f"diagonal: dim1 and dim2 are both axis {first}; they must differ")
    rows, columns = input.shape[first], input.shape[second]
    start, end = max(0, -offset), min(rows, columns - offset)
    i = np.arange(start, max(start, end))
    moved: Any = input.movedim((first, second), (-2, -1))
    index = tensor(i * columns + i + offset, device=input.device)
    flat = moved.reshape(*moved.shape[:-2], rows * columns)
    return slices.index_select(flat, -1, index)


_diagonal = diagonal


@public("gpudl", "Tensor")
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector as its diagonal."""
    if input.ndim == 2:
        return _diagonal(input, diagonal)
    if input.ndim != 1:
        raise ValueError(f"diag: input has shape {list(input.shape)}; it must have 1 or 2 axes")
    extent = input.shape[0] + abs(diagonal)
    i = np.arange(input.shape[0])
    rows, columns = i + max(0, -diagonal), i + max(0, diagonal)
    zeros = tensor(np.zeros(extent * extent, input.dtype), device=input.device)
    index = tensor(rows * extent + columns, device=input.device)
    return scatter_add(zeros, 0, index, input).reshape(extent, extent)


@public("gpudl", "Tensor")
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise ValueError(f"trace: input has shape {list(input.shape)}; it must be a matrix")
    return diag(input).sum()


@public("gpudl", "Tensor")
def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Repeat each element along `dim`, or of the flattened tensor, `repeats` times in a row.

    repeats: one int for all elements, or an integer tensor with one per element. output_size:
    the resulting extent; another one is refused.
    """
    if dim is None:
        input, dim = input.reshape(-1), 0
    extent = input.shape[_axis("repeat_interleave", input, dim)]
    counts = repeats.to("cpu").numpy() if isinstance(repeats, Tensor) else np.asarray(repeats)
    if counts.size not in (1, extent) or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(
            f"repeat_interleave: repeats is {counts.tolist()}; it must be one nonnegative int, or "
            f"one for each of the {extent} elements"
        )
    index = np.repeat(np.arange(extent), counts.reshape(-1) if counts.size > 1 else counts.item())
    if output_size not in (None, index.size):
        raise ValueError(
            f"repeat_interleave: output_size is {output_size}; the repeats give {index.size}"
        )
    return slices.index_select(input, dim, tensor(index, device=input.device))


@public("gpudl")
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: the i-th result repeats the i-th vector along all other axes.

    indexing: "ij" runs the first vector over rows, "xy" over columns.
    """
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}; it must be 'ij' or 'xy'")
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    vectors = [t.reshape(-1) for t in tensors]
    swap = indexing == "xy" and len(vectors) > 1
    if swap:
        vectors[0], vectors[1] = vectors[1], vectors[0]
    shape = [len(v) for v in vectors]
    grids = []
    for axis, v in enumerate(vectors):
        shaped = v.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        grids.append(shaped.expand(*shape))
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@public("gpudl", "Tensor")
def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """A copy of input with alpha·source added to the slices at `index` along `dim`, in a fixed
    order."""
    axis = _axis("index_add", input, dim)
    if index.ndim != 1 or source.ndim != input.ndim or source.shape[axis] != len(index):
        raise ValueError(
            f"index_add: source has shape {list(source.shape)}; it must have {input.ndim} axes, "
            f"with one slice along axis {dim} for each entry of index {list(index.shape)}"
        )
    shaped = index.reshape([-1 if i == axis else 1 for i in range(input.ndim)])
    scaled = source if alpha == 1 else source * alpha
    return scatter_add(input, axis, shaped.expand(*source.shape), scaled)


@public("gpudl", "Tensor")
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """y[i,j] = input[i]·vec2[j] for two vectors."""
    for name, t in (("input", input), ("vec2", vec2)):
        if t.ndim != 1:
            raise ValueError(f"outer: {name} has shape {list(t.shape)}; it must be a vector")
    return input.unsqueeze(1) * vec2


@public("gpudl", "Tensor")
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Σ input·tensor over two vectors of equal length."""
    if input.ndim != 1 or input.shape != tensor.shape:
        raise ValueError(
            f"dot: shapes are {list(input.shape)} and {list(tensor.shape)}; they must be vectors "
            "of equal length"
        )
    return matmul(input, tensor)


@public("gpudl", "Tensor")
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix times a vector."""
    if input.ndim != 2 or vec.ndim != 1:
        raise ValueError(
            f"mv: shapes are {list(input.shape)} and {list(vec.shape)}; they must be a matrix and "
            "a vector"
        )
    return matmul(input, vec)


@public("gpudl", "Tensor")
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta·input + alpha·(mat1 · mat2)."""
    product = matmul(mat1, mat2)
    return (input if beta == 1 else input * beta) + (product if alpha == 1 else product * alpha)


@public("gpudl")
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a tensor, sharing memory if dtype and device allow it."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, np.ndarray) and data.flags.writeable:
        return Tensor(data).to(dtype=dtype, device=device)
    return tensor(data, dtype=dtype, device=device)
