"""Sequences of different lengths in one batch, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.ops.index.slices import index_select, masked_fill
from gpudl.ops.shape.joining import cat, stack
from gpudl.ops.shape.pad import pad

Lengths = np.ndarray[Any, np.dtype[np.int64]]


class PackedSequence:
    """Sequences of different lengths. Kept as padded (T, N, …) data and the N lengths, which is
    what the recurrent layers read; `data` and `batch_sizes` are PyTorch's form of the same.

    order: the sequences from the longest to the shortest.
    """

    def __init__(self, padded: Tensor, lengths: Lengths, order: Lengths) -> None:
        self.padded = padded
        self.lengths = lengths
        self.order = order

    @property
    def batch_sizes(self) -> Tensor:
        """(longest) int64: how many sequences have a step t."""
        steps = np.arange(int(self.lengths.max()))
        return Tensor((steps[:, None] < self.lengths).sum(axis=1))

    @property
    def data(self) -> Tensor:
        """(sum of lengths, …): step by step, the longest sequence first."""
        steps, batch = self.padded.shape[:2]
        lengths = self.lengths[self.order]
        places = np.arange(int(lengths.max()))[:, None] * batch + self.order
        rows = places[np.arange(len(places))[:, None] < lengths]
        flat = self.padded.reshape(steps * batch, *self.padded.shape[2:])
        where = flat.device
        return index_select(flat, 0, Tensor.from_array(where.asarray(rows), where))

    @property
    def sorted_indices(self) -> Tensor:
        return Tensor(self.order)

    @property
    def unsorted_indices(self) -> Tensor:
        return Tensor(np.argsort(self.order))

    def to(self, *target: Any, **named: Any) -> PackedSequence:
        return PackedSequence(self.padded.to(*target, **named), self.lengths, self.order)


def pad_sequence(
    sequences: Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """N sequences (T_n, …) in one tensor (longest, N, …), or (N, longest, …) with batch_first,
    filled up with padding_value at the "right" or "left" end."""
    if padding_side not in ("right", "left"):
        raise ValueError(f"pad_sequence: padding_side {padding_side!r} must be 'right' or 'left'")
    many = list(sequences)
    if not many:
        raise ValueError("pad_sequence: sequences is empty; it must hold at least one tensor")
    longest = max(len(s) for s in many)
    padded = []
    for s in many:
        missing = longest - len(s)
        ends = (0, missing) if padding_side == "right" else (missing, 0)
        padded.append(pad(s, (0, 0) * (s.ndim - 1) + ends, value=padding_value))
    return stack(padded, 0 if batch_first else 1)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """(T, N, …), or (N, T, …) with batch_first, of which lengths[n] steps count, each at least 1.

    enforce_sorted: refuse lengths that rise. Raises ValueError for lengths outside 1 … T.
    """
    padded = input.transpose(0, 1) if batch_first else input
    counts = check_lengths("pack_padded_sequence", lengths, *padded.shape[:2])
    if enforce_sorted and (np.diff(counts) > 0).any():
        raise ValueError(
            f"pack_padded_sequence: lengths {counts.tolist()} must not rise; sort the sequences or "
            "pass enforce_sorted=False"
        )
    return PackedSequence(padded, counts, np.argsort(-counts, kind="stable"))


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """The same from a list of sequences (T_n, …)."""
    lengths = [len(s) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded tensor (longest, N, …), or (N, longest, …) with batch_first, and the lengths (N).

    total_length: pad to so many steps instead of the longest sequence's.
    """
    counts, x = sequence.lengths, sequence.padded
    longest = int(counts.max())
    steps = longest if total_length is None else total_length
    if steps < longest:
        raise ValueError(
            f"pad_packed_sequence: total_length is {steps}, the longest sequence has {longest}"
        )
    x = x[:longest]
    mask = np.arange(longest)[:, None] >= counts
    mask = mask.reshape(*mask.shape, *(1,) * (x.ndim - 2))
    x = masked_fill(x, Tensor.from_array(x.device.asarray(mask), x.device), padding_value)
    if steps > longest:
        more = [masked_fill(x[:1], Tensor(True, device=x.device), padding_value)]
        x = cat([x, *more * (steps - longest)])
    return x.transpose(0, 1) if batch_first else x, Tensor(counts)


def check_lengths(who: str, lengths: Any, steps: int, batch: int) -> Lengths:
    """Lengths as (N) int64 in the computer's own memory; refused outside 1 … T."""
    array = lengths.device.to_numpy(lengths.array) if isinstance(lengths, Tensor) else lengths
    counts = np.asarray(array)
    if counts.shape != (batch,) or counts.dtype.kind not in "iu":
        raise ValueError(
            f"{who}: lengths is {counts.dtype} of shape {counts.shape}; it must hold {batch} "
            "whole numbers, one for each sequence"
        )
    if batch and not (counts.min() >= 1 and counts.max() <= steps):
        raise ValueError(f"{who}: lengths {counts.tolist()} must be from 1 to {steps} steps")
    return counts.astype(np.int64)
