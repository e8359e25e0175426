"""Batches of a data set: shuffled by seed, augmented, prefetched, resumable within an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.random import default_generator
from gpudl.data.dataset import Indices, collect
from gpudl.data.prefetch import Prefetch
from gpudl.data.shuffle import augmentation_rng, check_seed, permutation
from gpudl.data.transforms import Transform
from gpudl.devices.find import device as find_device

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    Batch = TypeVarWithDefault("Batch", default=tuple[Tensor, ...])
else:
    Batch = TypeVar("Batch")


class Loader(Generic[Batch]):
    """Iterates over a data set in batches: samples stacked along a leading axis of batch_size.

    dataset: a `Dataset`, or any object with a length whose `[i]` returns a sample: an array, a
        number, a string, or a tuple or dictionary of them. A batch has the structure of a
        sample; strings become a list.
    batch_size: samples per batch; the last batch of an epoch is smaller unless `drop_last` drops
        it.
    shuffle: a new order in every epoch, drawn from (seed, epoch).
    seed: None draws one from the default generator for each pass, so that `manual_seed` decides.
    transform: called as transform(first array of the batch, rng); rng is drawn from (seed, epoch,
        batch). A batch that is a dictionary is passed as a whole.
    num_workers: threads that prepare batches, each up to `prefetch_factor` ahead; 0 prepares them
        on demand. Data set and transform are called from these threads. Batches do not depend on
        the number of threads.
    device: of the Tensors in a batch; None yields NumPy arrays.

    For type checkers a batch is a tuple of Tensors, or of arrays with device=None; for samples of
    another structure write it down: `loader: Loader[dict[str, Tensor]] = Loader(dataset)`.
    Every completed pass increments `epoch`, so the next one has another order; an interrupted pass
    starts over. `state_dict` is the position after the last batch yielded; after `load_state_dict`
    the next pass continues there.
    Raises ValueError for an empty data set and for arguments out of range.
    """

    @overload
    def __init__(
        self: Loader[tuple[np.ndarray[Any, Any], ...]],
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        num_workers: int = 1,
        drop_last: bool = False,
        prefetch_factor: int = 2,
        *,
        transform: Transform | None = None,
        seed: int | None = None,
        device: None,
    ) -> None: ...

    @overload
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
        seed: int | None = None,
        device: Any = "cpu",
    ) -> None: ...

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
        seed: int | None = None,
        device: Any = "cpu",
    ) -> None:
        _check_arguments(dataset, batch_size, num_workers, drop_last, prefetch_factor)
        self.dataset, self.batch_size, self.shuffle = dataset, int(batch_size), bool(shuffle)
        self.num_workers, self.drop_last = num_workers, bool(drop_last)
        self.prefetch_factor, self.transform = prefetch_factor, transform
        # A pass without random numbers draws no seed and leaves the default generator unchanged.
        self._drawn = seed is None and (self.shuffle or transform is not None)
        self._seed = None if self._drawn else check_seed(seed or 0)
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
    def seed(self) -> int:
        """The seed of the current pass or, between passes, of the next one."""
        if self._seed is None:
            self._seed = default_generator().take_seed()
        return self._seed

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
        if self._drawn and not start:
            self._seed = None
        seed, order, stop = self.seed, self.order(epoch), len(self)

        def prepare(number: int) -> Any:
            return self._prepare(order, seed, epoch, number)

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

    def _prepare(self, order: Indices, seed: int, epoch: int, number: int) -> Any:
        indices = order[number * self.batch_size : (number + 1) * self.batch_size]
        batch = collect(self.dataset, indices)
        if self.transform is None:
            return batch
        rng = augmentation_rng(seed, epoch, number)
        if not isinstance(batch, tuple):
            return self.transform(batch, rng)
        return _like(batch, [self.transform(batch[0], rng), *batch[1:]])

    def _place(self, batch: Any) -> Any:
        """The batch as it is yielded; runs in the consumer's thread and on its stream."""
        if isinstance(batch, np.ndarray):
            return batch if self.device is None else Tensor(batch, device=self.device)
        if isinstance(batch, dict):
            return {key: self._place(value) for key, value in batch.items()}
        if isinstance(batch, tuple):
            return _like(batch, map(self._place, batch))
        return batch

    def state_dict(self) -> dict[str, int | bool]:
        """The position in the data and the settings it is valid for, as plain numbers."""
        return {"epoch": self._epoch, "batch": self._next, **self._identity()}

    def load_state_dict(self, state: dict[str, int | bool]) -> None:
        """Continue at the position in `state`, a `state_dict`.

        Raises ValueError if it is from a loader with other data, batch size, seed or order.
        """
        if self._drawn and isinstance(state.get("seed"), int):
            self._seed = check_seed(state["seed"])
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


def _like(batch: Any, entries: Iterable[Any]) -> Any:
    """The entries as a tuple, or as the batch's type if that is a named tuple."""
    return type(batch)(*entries) if hasattr(batch, "_fields") else tuple(entries)


def _check_arguments(
    dataset: Any, batch_size: int, num_workers: int, drop_last: bool, prefetch_factor: int
) -> None:
    try:
        samples = len(dataset)
    except TypeError:
        raise TypeError(
            f"Loader: dataset: {type(dataset).__name__} has no length; expected an object that "
            "supports len() and returns a sample for [i]"
        ) from None
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
