"""Arguments of convolutions as users write them: one int for all axes, or one per axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from gpudl.autograd.tensor import Tensor
from gpudl.ops.conv.base import Size

Number = int | Sequence[int]
Padding = str | int | Sequence[int | Sequence[int]]


def each(op: str, name: str, value: Any, axes: int) -> Size:
    """The value as one int per axis."""
    if isinstance(value, int):
        return (value,) * axes
    given = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else None
    if given is None or len(given) not in (1, axes) or any(v != _whole(v) for v in given):
        expected = {1: "an int", 2: "an int or a pair of ints"}.get(axes, f"an int or {axes} ints")
        more = ', "same" or "valid"' if name == "padding" else ""
        raise ValueError(f"{op}: {name} is {value!r}; it must be {expected}{more}")
    return tuple(int(v) for v in given) * (axes // len(given))


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def windows(
    op: str, axes: int, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[Size, Size, Size, int, Size]:
    """Fields of Windowed from PyTorch's arguments: stride, padding, dilation, groups, extra."""
    steps, spread = each(op, "stride", stride, axes), each(op, "dilation", dilation, axes)
    before, extra = paddings(op, padding, axes, weight.shape[2:], steps, spread)
    return steps, before, spread, int(groups), extra


def paddings(
    op: str, padding: Any, axes: int, window: Size, stride: Size, dilation: Size
) -> tuple[Size, Size]:
    """(zeros before x, extra zeros after it), one number per axis."""
    none = (0,) * axes
    if isinstance(padding, int):
        return (padding,) * axes, none
    if padding == "valid":
        return none, none
    if padding == "same":
        return _same(op, window, stride, dilation)
    if not isinstance(padding, str) and any(isinstance(p, Sequence) for p in padding):
        pairs = [(p, p) if isinstance(p, int) else tuple(p) for p in padding]
        if len(pairs) != axes or any(len(p) != 2 for p in pairs):
            raise ValueError(
                f"{op}: padding is {padding!r}; it must have {axes} entries, each an int or a "
                "pair (before, after)"
            )
        return tuple(b for b, _ in pairs), tuple(a - b for b, a in pairs)
    return each(op, "padding", padding, axes), none


@lru_cache(maxsize=256)
def _same(op: str, window: Size, stride: Size, dilation: Size) -> tuple[Size, Size]:
    """Padding that makes the output as large as x. If the total is odd, the extra zero goes after
    x, as in PyTorch."""
    if max(stride) != 1:
        raise ValueError(
            f'{op}: padding="same" needs stride 1, got stride={stride}; give the padding as ints'
        )
    total = [d * (extent - 1) for d, extent in zip(dilation, window, strict=True)]
    return tuple(t // 2 for t in total), tuple(t % 2 for t in total)
