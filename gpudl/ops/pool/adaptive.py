"""Adaptive pooling as functions, with PyTorch's names and arguments.

The input is (N, C, ...) with one to three spatial axes, or (C, ...) without a batch. If the output
sizes divide the input sizes, the windows are those of ordinary pooling, which is faster.
"""

from __future__ import annotations

from typing import Any, Literal, overload

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Op
from gpudl.core.public import public
from gpudl.ops.pool.average import AdaptiveAvgPoolOp, AvgPoolOp
from gpudl.ops.pool.base import Ints, batched, unbatched
from gpudl.ops.pool.functions import max_with_indices
from gpudl.ops.pool.max import AdaptiveMaxPoolOp, MaxPoolOp

AdaptiveSize = int | tuple[int | None, ...] | None


def _adaptive(
    rank: int, function: str, input: Tensor, output_size: AdaptiveSize
) -> tuple[Tensor, bool, Ints, Ints | None]:
    """(batched input, whether it had no batch, output sizes, the window if all are equal)."""
    x, lacking = batched(function, input, rank)
    given = output_size if isinstance(output_size, tuple) else (output_size,) * rank
    given = given * rank if len(given) == 1 else given
    if len(given) != rank:
        raise ValueError(
            f"{function}: output_size is {output_size}; it must be an int or {rank} ints"
        )
    sizes = tuple(n if s is None else int(s) for s, n in zip(given, x.shape[2:], strict=True))
    if min(sizes) < 1 or any(n % s or not n for n, s in zip(x.shape[2:], sizes, strict=True)):
        return x, lacking, sizes, None
    return x, lacking, sizes, tuple(n // s for n, s in zip(x.shape[2:], sizes, strict=True))


@overload
def adaptive_max_pool1d(
    input: Tensor, output_size: AdaptiveSize, return_indices: Literal[False] = False
) -> Tensor: ...


@overload
def adaptive_max_pool1d(
    input: Tensor, output_size: AdaptiveSize, *, return_indices: Literal[True]
) -> tuple[Tensor, Tensor]: ...


@public("functional")
def adaptive_max_pool1d(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> Any:
    """Maximum over output_size windows: (N, C, W) -> (N, C, Q); see adaptive_max_pool2d."""
    return _adaptive_max_pool(1, input, output_size, return_indices)


@overload
def adaptive_max_pool2d(
    input: Tensor, output_size: AdaptiveSize, return_indices: Literal[False] = False
) -> Tensor: ...


@overload
def adaptive_max_pool2d(
    input: Tensor, output_size: AdaptiveSize, *, return_indices: Literal[True]
) -> tuple[Tensor, Tensor]: ...


@public("functional")
def adaptive_max_pool2d(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> Any:
    """Maximum over P x Q windows that cover the input: (N, C, H, W) -> (N, C, P, Q).

    output_size = (P, Q); None keeps the input's size. Window p covers the rows from floor(p*H/P) up
    to but not including ceil((p + 1)*H/P), columns likewise. return_indices: as in max_pool2d.
    """
    return _adaptive_max_pool(2, input, output_size, return_indices)


@overload
def adaptive_max_pool3d(
    input: Tensor, output_size: AdaptiveSize, return_indices: Literal[False] = False
) -> Tensor: ...


@overload
def adaptive_max_pool3d(
    input: Tensor, output_size: AdaptiveSize, *, return_indices: Literal[True]
) -> tuple[Tensor, Tensor]: ...


@public("functional")
def adaptive_max_pool3d(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False
) -> Any:
    """Maximum over output_size windows: (N, C, D, H, W) -> (N, C, O, P, Q).

    See adaptive_max_pool2d.
    """
    return _adaptive_max_pool(3, input, output_size, return_indices)


def _adaptive_max_pool(
    rank: int, input: Tensor, output_size: AdaptiveSize, return_indices: bool
) -> Any:
    function = f"adaptive_max_pool{rank}d"
    _, _, sizes, even = _adaptive(rank, function, input, output_size)
    op: Op = AdaptiveMaxPoolOp.of(sizes)
    if even is not None:
        op = MaxPoolOp.of(even, even, (0,) * rank, (1,) * rank, False)
    return max_with_indices(function, op, input, rank, return_indices)


@public("functional")
def adaptive_avg_pool1d(input: Tensor, output_size: AdaptiveSize) -> Tensor:
    """Mean over output_size windows: (N, C, W) -> (N, C, Q); see adaptive_avg_pool2d."""
    return _adaptive_avg_pool(1, input, output_size)


@public("functional")
def adaptive_avg_pool2d(input: Tensor, output_size: AdaptiveSize) -> Tensor:
    """Mean over output_size windows: (N, C, H, W) -> (N, C, P, Q).

    output_size=1 is the global average. Windows as in adaptive_max_pool2d.
    """
    return _adaptive_avg_pool(2, input, output_size)


@public("functional")
def adaptive_avg_pool3d(input: Tensor, output_size: AdaptiveSize) -> Tensor:
    """Mean over output_size windows: (N, C, D, H, W) -> (N, C, O, P, Q).

    See adaptive_avg_pool2d.
    """
    return _adaptive_avg_pool(3, input, output_size)


def _adaptive_avg_pool(rank: int, input: Tensor, output_size: AdaptiveSize) -> Tensor:
    x, lacking, sizes, even = _adaptive(rank, f"adaptive_avg_pool{rank}d", input, output_size)
    op: Op = AdaptiveAvgPoolOp.of(sizes)
    if even is not None:
        op = AvgPoolOp.of(even, even, (0,) * rank, (1,) * rank, False, True, 0)
    return unbatched(apply(op, x), lacking)
