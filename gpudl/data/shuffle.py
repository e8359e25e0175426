"""Random streams for data: functions of (seed, epoch, batch), independent of time and threads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# The purpose of a stream is the last word of Philox's 256-bit counter, so that streams of one key
# never overlap.
SHUFFLE, AUGMENT = 0, 1


def check_seed(seed: int) -> int:
    """`seed` as an int. Raises ValueError if it is not a whole number from 0 to 2^64 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 1 << 64:
        raise ValueError(f"seed: {seed!r}, expected a whole number from 0 to 2^64 - 1")
    return int(seed)


def permutation(count: int, seed: int, epoch: int = 0) -> npt.NDArray[np.int64]:
    """The numbers 0 … count - 1 in an order drawn from (seed, epoch).

    Sorts by 64 random bits each instead of asking a NumPy generator for a permutation: NumPy keeps
    the raw bits of Philox the same in all versions, but not what its generators derive from them.
    """
    bits = _philox(seed, epoch, 0, SHUFFLE).random_raw(count)
    return np.argsort(bits, kind="stable")


def augmentation_rng(seed: int, epoch: int, batch: int) -> np.random.Generator:
    """The generator for augmenting batch number `batch` of `epoch`."""
    return np.random.Generator(_philox(seed, epoch, batch, AUGMENT))


def _philox(seed: int, epoch: int, batch: int, purpose: int) -> np.random.Philox:
    key = np.array([check_seed(seed), epoch], np.uint64)
    return np.random.Philox(counter=np.array([0, 0, batch, purpose], np.uint64), key=key)
