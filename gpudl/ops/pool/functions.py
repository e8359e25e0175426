"""Pooling as functions, with PyTorch's names and arguments: max, average, Lp and unpooling.

The input is (N, C, …) with one to three spatial axes, or (C, …) without a batch; one int applies to
all axes.
"""

from __future__ import annotations

from typing import Any, Literal, overload

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Op
from gpudl.core.public import public
from gpudl.ops.pool.average import AvgPoolOp, LpPoolOp
from gpudl.ops.pool.base import Size, batched, each_axis, sliding_fields, unbatched
from gpudl.ops.pool.max import MaxPoolIndicesOp, MaxPoolOp
from gpudl.ops.pool.unpool import MaxUnpoolOp


def max_with_indices(function: str, op: Op, input: Tensor, rank: int, return_indices: bool) -> Any:
    """The result of a max pool: y, with indices if asked for."""
    x, lacking = batched(function, input, rank)
    y, argmax = apply(op, x)
    if not return_indices:
        return unbatched(y, lacking)
    indices = apply(MaxPoolIndicesOp.of(op, tuple(x.shape[2:])), argmax)
    return unbatched(y, lacking), unbatched(indices, lacking)


@overload
def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...


@overload
def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...


@public("functional")
def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window: (N, C, W) -> (N, C, Q); see max_pool2d."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...


@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...


@public("functional")
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window: (N, C, H, W) -> (N, C, P, Q); the batch axis may be missing.

    P = (H + 2*padding - dilation*(kernel_size - 1) - 1)//stride + 1, rounded up with ceil_mode, Q
    likewise; stride defaults to kernel_size. Padding never wins, the first of equal elements does,
    NaN propagates. return_indices: also return the winners' positions, flat in H*W, int64.
    Raises ValueError if a window is larger than the padded input or padding exceeds half of it.
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@overload
def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...


@overload
def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...


@public("functional")
def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window: (N, C, D, H, W) -> (N, C, O, P, Q); see max_pool2d."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _max_pool(
    rank: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    function = f"max_pool{rank}d"
    fields = sliding_fields(function, rank, kernel_size, stride, padding, dilation)
    return max_with_indices(function, MaxPoolOp.of(*fields, ceil_mode), input, rank, return_indices)


@public("functional")
def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window: (N, C, W) -> (N, C, Q); see avg_pool2d."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@public("functional")
def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window: (N, C, H, W) -> (N, C, P, Q), sizes as in max_pool2d.

    Padding counts as zeros, or is excluded with count_include_pad=False. divisor_override replaces
    the divisor (not in avg_pool1d, as in PyTorch). Raises ValueError if it is 0.
    """
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@public("functional")
def avg_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window: (N, C, D, H, W) -> (N, C, O, P, Q); see avg_pool2d."""
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _avg_pool(
    rank: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    function = f"avg_pool{rank}d"
    if divisor_override == 0:
        raise ValueError(
            f"{function}: divisor_override is 0; pass None to divide by the window's size"
        )
    fields = sliding_fields(function, rank, kernel_size, stride, padding, 1)
    op = AvgPoolOp.of(*fields, ceil_mode, count_include_pad, divisor_override or 0)
    x, lacking = batched(function, input, rank)
    return unbatched(apply(op, x), lacking)


@public("functional")
def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(Sum of x^p over each window)^(1/p): (N, C, W) -> (N, C, Q); see lp_pool2d."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


@public("functional")
def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(Sum of x^p over each window)^(1/p), p = norm_type: (N, C, H, W) -> (N, C, P, Q).

    As in PyTorch, x and not |x| is raised to p: an odd p with a negative sum gives NaN. A sum of
    zero has gradient 0. Raises ValueError if norm_type is 0 or infinite.
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


@public("functional")
def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(Sum of x^p over each window)^(1/p): (N, C, D, H, W) -> (N, C, O, P, Q); see lp_pool2d."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(
    rank: int,
    input: Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None,
    ceil_mode: bool,
) -> Tensor:
    fields = sliding_fields(f"lp_pool{rank}d", rank, kernel_size, stride, 0, 1)
    x, lacking = batched(f"lp_pool{rank}d", input, rank)
    return unbatched(apply(LpPoolOp.of(*fields, ceil_mode, float(norm_type)), x), lacking)


@public("functional")
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: tuple[int, ...] | None = None,
) -> Tensor:
    """Partial inverse of max_pool1d: (N, C, Q) -> (N, C, W); see max_unpool2d."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


@public("functional")
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: tuple[int, ...] | None = None,
) -> Tensor:
    """Partial inverse of max_pool2d(..., return_indices=True): zeros replace the lost elements.

    input, indices: (N, C, P, Q) -> (N, C, H, W), H = (P - 1)*stride - 2*padding + kernel_size, W
    likewise; output_size may choose another size less than a stride away. If an index occurs twice,
    the last one wins. Raises ValueError for any other output_size.
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


@public("functional")
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: tuple[int, ...] | None = None,
) -> Tensor:
    """Partial inverse of max_pool3d: (N, C, O, P, Q) -> (N, C, D, H, W); see max_unpool2d."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _max_unpool(
    rank: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    output_size: tuple[int, ...] | None,
) -> Tensor:
    function = f"max_unpool{rank}d"
    kernel, step, margin, _ = sliding_fields(function, rank, kernel_size, stride, padding, 1)
    x, lacking = batched(function, input, rank)
    at, _ = batched(function, indices, rank)
    axes = zip(x.shape[2:], step, margin, kernel, strict=True)
    usual = tuple((n - 1) * s - 2 * p + k for n, s, p, k in axes)
    size = usual
    if output_size is not None:
        size = each_axis(function, "output_size", tuple(output_size)[-rank:], rank)
        if any(abs(a - b) >= s for a, b, s in zip(size, usual, step, strict=True)):
            raise ValueError(
                f"{function}: output_size is {size}; it must differ from {usual} by less than the "
                f"stride {step}"
            )
    return unbatched(apply(MaxUnpoolOp.of(size), x, at), lacking)
