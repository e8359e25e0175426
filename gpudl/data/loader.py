"""Batches of a data set: shuffled by seed, augmented, prefetched, resumable inside an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.autograd.tensor import Tensor
from gpudl.data.dataset import Dataset, Indices
from gpudl.data.prefetch import Prefetch
from gpudl.data.shuffle import augmentation_rng, check_seed, permutation
from gpudl.data.transforms import Transform
from gpudl.devices.find import device as find_device

Batch = tuple[Any, ...]


class Loader:
    """Iterates over a data set in batches: tuples of arrays with a leading axis of batch_size.

    dataset: a `Dataset`, or any object with a length whose `[i]` gives a sample (an array or a
        tuple of them).
    batch_size: samples a batch; the last batch of an epoch is smaller unless `drop_last` leaves it
        away.
    shuffle: a new order in every epoch, drawn from (seed, epoch).
    transform: called as transform(first array of the batch, rng); rng is drawn from (seed, epoch,
        batch).
    num_workers: threads that prepare batches, each up to `prefetch_factor` ahead; 0 prepares them
        when asked. Data set and transform are called from these threads. The batches do not
        depend on their number.
    device: None gives NumPy arrays, otherwise Tensors on that device.

    Every finished pass counts `epoch` up, so the next one has another order; a pass that was
    broken off is begun again. `state_dict` is the place behind the last batch handed out; after
    `load_state_dict` the next pass goes on there.
    Raises ValueError for an empty data set and for arguments out of range.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        num_workers: int = 1,
        drop_last: bool = False,
        prefetch_factor: int = 2,
        *,
        transform: Transform | None = None,
        seed: int = 0,
        device: Any = None,
    ) -> None:
        _check_arguments(len(dataset), batch_size, num_workers, drop_last, prefetch_factor)
        self.dataset, self.batch_size, self.shuffle = dataset, int(batch_size), bool(shuffle)
        self.num_workers, self.drop_last = num_workers, bool(drop_last)
        self.prefetch_factor, self.transform = prefetch_factor, transform
        self.seed = check_seed(seed)
        self.device = None if device is None else find_device(device)
        self._epoch = 0
        self._next = 0  # the batch behind the last one handed out
        self._resume = False  # the next pass starts at self._next, not at 0
        self._pass: object = None  # the pass whose progress counts: the latest

    def __len__(self) -> int:
        """Batches an epoch."""
        samples = len(self.dataset)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    @property
    def epoch(self) -> int:
        """Number of the epoch that is under way or comes next, from 0."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """The next pass is the whole of this epoch."""
        if isinstance(epoch, bool) or not isinstance(epoch, (int, np.integer)) or epoch < 0:
            raise ValueError(f"Loader.set_epoch: epoch: {epoch!r}, expected a whole number from 0")
        self._epoch, self._next, self._resume, self._pass = int(epoch), 0, False, None

    def order(self, epoch: int | None = None) -> Indices:
        """The indices of the samples in the order in which an epoch takes them."""
        epoch = self._epoch if epoch is None else epoch
        samples = len(self.dataset)
        return permutation(samples, self.seed, epoch) if self.shuffle else np.arange(samples)

    def __iter__(self) -> Iterator[Batch]:
        start = self._next if self._resume else 0
        self._resume, self._next, self._pass = False, start, (token := object())
        return self._batches(token, self._epoch, start)

    def _batches(self, token: object, epoch: int, start: int) -> Iterator[Batch]:
        order, stop = self.order(epoch), len(self)

        def make(number: int) -> tuple[npt.NDArray[Any], ...]:
            return self._make(order, epoch, number)

        ahead = self.num_workers * self.prefetch_factor
        prefetch = Prefetch(make, start, stop, self.num_workers, ahead) if ahead else None
        try:
            made = prefetch or (make(number) for number in range(start, stop))
            for number, arrays in enumerate(made, start):
                batch = self._place(arrays)
                if self._pass is token:
                    self._next = number + 1
                yield batch
        finally:
            if prefetch:
                prefetch.close()
        if self._pass is token:
            self._epoch, self._next = epoch + 1, 0

    def _make(self, order: Indices, epoch: int, number: int) -> tuple[npt.NDArray[Any], ...]:
        indices = order[number * self.batch_size : (number + 1) * self.batch_size]
        arrays = _collect(self.dataset, indices)
        if self.transform is None:
            return arrays
        rng = augmentation_rng(self.seed, epoch, number)
        return (self.transform(arrays[0], rng), *arrays[1:])

    def _place(self, arrays: tuple[npt.NDArray[Any], ...]) -> Batch:
        """The batch as the consumer gets it; runs in the consumer's thread, and on its stream."""
        if self.device is None:
            return arrays
        return tuple(Tensor(array, device=self.device) for array in arrays)

    def state_dict(self) -> dict[str, int | bool]:
        """The place in the data, and what it is the place in; only plain numbers."""
        return {"epoch": self._epoch, "batch": self._next, **self._identity()}

    def load_state_dict(self, state: dict[str, int | bool]) -> None:
        """Goes on at the place that `state_dict` gave.

        Raises ValueError where it is from a loader whose batches are others: other data, batch
        size, seed or order.
        """
        for key, value in self._identity().items():
            if state.get(key) != value:
                raise ValueError(
                    f"Loader.load_state_dict: {key} is {value}, in the state {state.get(key)}; "
                    "build the loader as it was"
                )
        epoch, batch = state.get("epoch"), state.get("batch")
        if type(epoch) is not int or type(batch) is not int or not 0 <= batch <= len(self):
            raise ValueError(
                f"Loader.load_state_dict: epoch {epoch!r}, batch {batch!r}: expected numbers, "
                f"batch from 0 to {len(self)}"
            )
        self.set_epoch(epoch)
        self._next, self._resume = batch, True

    def _identity(self) -> dict[str, int | bool]:
        return {
            "samples": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "seed": self.seed,
        }


def _collect(dataset: Any, indices: Indices) -> tuple[npt.NDArray[Any], ...]:
    """The samples of `indices`, stacked; at once where the data set can, else one by one."""
    if isinstance(dataset, Dataset):
        return dataset.batch(indices)
    samples = [dataset[index] for index in indices.tolist()]
    samples = [sample if isinstance(sample, tuple) else (sample,) for sample in samples]
    return tuple(np.stack(column) for column in zip(*samples, strict=True))


def _check_arguments(
    samples: int, batch_size: int, num_workers: int, drop_last: bool, prefetch_factor: int
) -> None:
    if samples == 0:
        raise ValueError("Loader: dataset: is empty")
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("num_workers", num_workers, 0),
        ("prefetch_factor", prefetch_factor, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"Loader: {name}: {value!r}, expected a whole number from {least} up")
    if drop_last and batch_size > samples:
        raise ValueError(
            f"Loader: batch_size: {batch_size} is more than the {samples} samples, "
            "so drop_last leaves no batch; take a smaller batch_size"
        )
