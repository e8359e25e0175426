"""Dropout of whole channels, and alpha dropout."""

from __future__ import annotations

import math

from gpudl.autograd.tensor import Tensor
from gpudl.core.public import public
from gpudl.core.random import Generator
from gpudl.ops.random.fills import dropout
from gpudl.ops.shape.create import ones

SELU_LOWEST = -1.7580993408473766  # -scale*alpha, the limit of SELU towards -inf


def check_probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is {p}; it must be from 0 to 1")


@public("functional")
def dropout1d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Set whole channels of (N, C, W) or (C, W) to zero; see dropout2d."""
    return _dropout(1, input, p, training, inplace, generator)


@public("functional")
def dropout2d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """In training, set whole channels of (N, C, H, W) to zero with probability p and divide the
    others by 1 - p. Tompson et al. 2015, arXiv:1411.4280."""
    return _dropout(2, input, p, training, inplace, generator)


@public("functional")
def dropout3d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Set whole channels of (N, C, D, H, W) or (C, D, H, W) to zero; see dropout2d."""
    return _dropout(3, input, p, training, inplace, generator)


def _dropout(
    rank: int, input: Tensor, p: float, training: bool, inplace: bool, generator: Generator | None
) -> Tensor:
    name = f"dropout{rank}d"
    # Three axes are ambiguous: PyTorch's dropout2d reads them as (N, C, L), not (C, H, W).
    fits = (rank + 2,) if rank == 2 else (rank + 1, rank + 2)
    if input.ndim not in fits:
        raise ValueError(f"{name}: input has shape {list(input.shape)}; it must have {fits} axes")
    check_probability(name, p)
    if not training or p == 0:
        return input
    shape = (*input.shape[: input.ndim - rank], *(1,) * rank)
    kept = dropout(ones(*shape, dtype=input.dtype, device=input.device), p, generator=generator)
    y = input * kept
    return input._changed_in_place(y) if inplace else y


@public("functional")
def alpha_dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """In training, set elements to SELU's lowest value with probability p, then scale and shift all
    elements to keep mean 0 and variance 1.

    Klambauer et al. 2017, arXiv:1706.02515, section 3.
    """
    check_probability("alpha_dropout", p)
    if not training or p == 0:
        return input
    if p == 1:
        y = input * 0.0
    else:
        everywhere = ones(*input.shape, dtype=input.dtype, device=input.device)
        kept = dropout(everywhere, p, generator=generator) * (1 - p)
        scale = 1 / math.sqrt((1 - p) * (1 + p * SELU_LOWEST**2))
        y = (input * kept + SELU_LOWEST * (1 - kept)) * scale - scale * SELU_LOWEST * p
    return input._changed_in_place(y) if inplace else y
