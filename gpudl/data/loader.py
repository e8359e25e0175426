"""Batches of a data set: shuffled by seed, augmented, prefetched, resumable within an epoch."""

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

    dataset: a `Dataset`, or any object with a length whose `[i]` returns a sample (an array or a
        tuple of arrays).
    batch_size: samples per batch; the last batch of an epoch is smaller unless `drop_last` drops
        it.
    shuffle: a new order in every epoch, drawn from (seed, epoch).
    transform: called as transform(first array of the batch, rng); rng is drawn from (seed, epoch,
        batch).
    num_workers: threads that prepare batches, each up to `prefetch_factor` ahead; 0 prepares them
        on demand. Data set and transform are called from these threads. Batches do not depend on
        the number of threads.
    device: None yields NumPy arrays, otherwise Tensors on that device.

    Every completed pass increments `epoch`, so the next one has another order; an interrupted pass
    starts over. `state_dict` is the position after the last batch yielded; after `load_state_dict`
    the next pass continues there.
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
        self._next = 0  # the batch after the last one yielded
        self._resume = False  # the next pass starts at self._next, not at 0
        self._pass: object = None  # the latest pass, whose progress counts

    def __len__(self) -> int:
        """Batches per epoch."""
        samples = len(self.dataset)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    @property
    def epoch(self) -> int:
        """The current epoch, or between passes the next one; the first is 0."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Start the next pass at the beginning of this epoch."""
        if isinstance(epoch, bool) or not isinstance(epoch, (int, np.integer)) or epoch < 0:
            raise ValueError(f"Loader.set_epoch: epoch: {epoch!r}, expected a whole number from 0")
        self._epoch, self._next, self._resume, self._pass = int(epoch), 0, False, None

    def order(self, epoch: int | None = None) -> Indices:
        """The indices of the samples in the order of an epoch, by default the current one."""
        epoch = self._epoch if epoch is None else epoch
        samples = len(self.dataset)
        return permutation(samples, self.seed, epoch) if self.shuffle else np.arange(samples)

    def __iter__(self) -> Iterator[Batch]:
        start = self._next if self._resume else 0
        self._resume, self._next, self._pass = False, start, (token := object())
        return self._batches(token, self._epoch, start)

    def _batches(self, token: object, epoch: int, start: int) -> Iterator[Batch]:
        order, stop = self.order(epoch), len(self)

        def prepare(number: int) -> tuple[npt.NDArray[Any], ...]:
            return self._prepare(order, epoch, number)

        ahead = self.num_workers * self.prefetch_factor
        prefetch = Prefetch(prepare, start, stop, self.num_workers, ahead) if ahead else None
        try:
            prepared = prefetch or (prepare(number) for number in range(start, stop))
            for number, arrays in enumerate(prepared, start):
                batch = self._place(arrays)
                if self._pass is token:
                    self._next = number + 1
                yield batch
        finally:
            if prefetch:
                prefetch.close()
        if self._pass is token:
            self._epoch, self._next = epoch + 1, 0

    def _prepare(self, order: Indices, epoch: int, number: int) -> tuple[npt.NDArray[Any], ...]:
        indices = order[number * self.batch_size : (number + 1) * self.batch_size]
        arrays = _collect(self.dataset, indices)
        if self.transform is None:
            return arrays
        rng = augmentation_rng(self.seed, epoch, number)
        return (self.transform(arrays[0], rng), *arrays[1:])

    def _place(self, arrays: tuple[npt.NDArray[Any], ...]) -> Batch:
        """The batch as it is yielded; runs in the consumer's thread and on its stream."""
        if self.device is None:
            return arrays
        return tuple(Tensor(array, device=self.device) for array in arrays)

    def state_dict(self) -> dict[str, int | bool]:
        """The position in the data and the settings it is valid for, as plain numbers."""
        return {"epoch": self._epoch, "batch": self._next, **self._identity()}

    def load_state_dict(self, state: dict[str, int | bool]) -> None:
        """Continue at the position in `state`, a `state_dict`.

        Raises ValueError if it is from a loader with other data, batch size, seed or order.
        """
        for key, value in self._identity().items():
            if state.get(key) != value:
                raise ValueError(
                    f"Loader.load_state_dict: {key} is {value}, but {state.get(key)} in the state; "
                    "build the loader with the same settings"
                )
        epoch, batch = state.get("epoch"), state.get("batch")
        if type(epoch) is not int or type(batch) is not int or not 0 <= batch <= len(self):
            raise ValueError(
                f"Loader.load_state_dict: epoch {epoch!r}, batch {batch!r}: expected integers, "
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
    """The samples at `indices`, stacked; in one call for a Dataset, otherwise one by one."""
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
            "so drop_last leaves no batch; use a smaller batch_size"
        )
