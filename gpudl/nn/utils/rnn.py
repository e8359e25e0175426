"""Sequences of different lengths in one batch, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor, tensor
from gpudl.ops.index.slices import index_select, masked_fill
from gpudl.ops.shape.joining import cat, stack
from gpudl.ops.shape.pad import pad

Lengths = np.ndarray[Any, np.dtype[np.int64]]


class PackedSequence:
    """Sequences of different lengths, stored as padded data (T, N, …) and N lengths, as the
    recurrent layers read them; `data` and `batch_sizes` give PyTorch's form.

    order: indices of the sequences, longest first.
    """

    def __init__(self, padded: Tensor, lengths: Lengths, order: Lengths) -> None:
        self.padded = padded
        self.lengths = lengths
        self.order = order

    @property
    def batch_sizes(self) -> Tensor:
        """(longest) int64: the number of sequences that have step t."""
        steps = np.arange(int(self.lengths.max()))
        return Tensor((steps[:, None] < self.lengths).sum(axis=1))

    @property
    def data(self) -> Tensor:
        """(sum of lengths, …): step by step, the longest sequence first."""
        steps, batch = self.padded.shape[:2]
        lengths = self.lengths[self.order]
        indices = np.arange(int(lengths.max()))[:, None] * batch + self.order
        rows = indices[np.arange(len(indices))[:, None] < lengths]
        flat = self.padded.reshape(steps * batch, *self.padded.shape[2:])
        device = flat.device
        return index_select(flat, 0, Tensor.from_array(device.asarray(rows), device))

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
    """Pad N sequences (T_n, …) with padding_value at the "right" or "left" end to one tensor
    (longest, N, …), or (N, longest, …) with batch_first."""
    if padding_side not in ("right", "left"):
        raise ValueError(f"pad_sequence: padding_side {padding_side!r} must be 'right' or 'left'")
    tensors = list(sequences)
    if not tensors:
        raise ValueError("pad_sequence: sequences is empty; it must hold at least one tensor")
    longest = max(len(s) for s in tensors)
    padded = []
    for s in tensors:
        missing = longest - len(s)
        ends = (0, missing) if padding_side == "right" else (missing, 0)
        padded.append(pad(s, (0, 0) * (s.ndim - 1) + ends, value=padding_value))
    return stack(padded, 0 if batch_first else 1)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack (T, N, …), or (N, T, …) with batch_first; sequence n has lengths[n] steps, 1 to T.

    enforce_sorted: refuse increasing lengths. Raises ValueError for lengths outside 1 … T.
    """
    padded = input.transpose(0, 1) if batch_first else input
    counts = check_lengths("pack_padded_sequence", lengths, *padded.shape[:2])
    if enforce_sorted and (np.diff(counts) > 0).any():
        raise ValueError(
            f"pack_padded_sequence: lengths {counts.tolist()} must not increase; sort the "
            "sequences or pass enforce_sorted=False"
        )
    return PackedSequence(padded, counts, np.argsort(-counts, kind="stable"))


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences (T_n, …)."""
    lengths = [len(s) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded tensor (longest, N, …), or (N, longest, …) with batch_first, and the lengths (N).

    total_length: pad to this many steps instead of to the longest sequence.
    """
    counts, x = sequence.lengths, sequence.padded
    longest = int(counts.max())
    steps = longest if total_length is None else total_length
    if steps < longest:
        raise ValueError(
            f"pad_packed_sequence: total_length is {steps}; it must be at least {longest}, the "
            "longest sequence"
        )
    x = x[:longest]
    mask = np.arange(longest)[:, None] >= counts
    mask = mask.reshape(*mask.shape, *(1,) * (x.ndim - 2))
    x = masked_fill(x, Tensor.from_array(x.device.asarray(mask), x.device), padding_value)
    if steps > longest:
        more = [masked_fill(x[:1], tensor(True, device=x.device), padding_value)]
        x = cat([x, *more * (steps - longest)])
    return x.transpose(0, 1) if batch_first else x, Tensor(counts)


def check_lengths(caller: str, lengths: Any, steps: int, batch: int) -> Lengths:
    """lengths as a NumPy array (N) int64. Raises ValueError outside 1 … steps."""
    array = lengths.device.to_numpy(lengths.array) if isinstance(lengths, Tensor) else lengths
    counts = np.asarray(array)
    if counts.shape != (batch,) or counts.dtype.kind not in "iu":
        raise ValueError(
            f"{caller}: lengths is {counts.dtype} of shape {counts.shape}; it must hold {batch} "
            "integers, one per sequence"
        )
    if batch and not (counts.min() >= 1 and counts.max() <= steps):
        raise ValueError(f"{caller}: lengths {counts.tolist()} must be from 1 to {steps} steps")
    return counts.astype(np.int64)
