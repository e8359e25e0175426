"""Random numbers with the same bits on every device.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011)
maps a 128-bit counter and a 64-bit key to four words and keeps no state. Here the key is the seed;
the counter holds the stream (upper 64 bits) and the block number (lower 64): element i of a draw is
word i % 4 of block offset + i // 4. csrc/core/philox.h and csrc/ops/random/random.h are the same
arithmetic for kernels.

Uniforms take the upper 24 bits of a word. Normals use the Box-Muller transform with our own
logarithm, sine and cosine: float32 additions, multiplications, divisions and square roots only,
which IEEE 754 rounds alike everywhere. Their error against exact arithmetic is at most 1e-6, and
5e-7 of the radius sqrt(-2 log u).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

Words = np.ndarray[Any, np.dtype[np.uint32]]
Floats = np.ndarray[Any, np.dtype[np.float32]]

M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # multipliers of a round
W0, W1 = 0x9E3779B9, 0xBB67AE85  # added to the key each round: golden ratio, sqrt(3) - 1
ROUNDS = 10
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
CHUNK = 8192  # blocks at a time, so that intermediate arrays stay in the cache
WORD = 1 << 64


def philox_block(counter: tuple[Any, Any, Any, Any], key: tuple[int, int]) -> tuple[Any, ...]:
    """Philox4x32-10: four words for each counter. Words are uint64 arrays below 2^32."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * M0, c2 * M1
        c0, c1 = (p1 >> HALF) ^ c1 ^ np.uint64(k0), p1 & LOW
        c2, c3 = (p0 >> HALF) ^ c3 ^ np.uint64(k1), p0 & LOW
        k0, k1 = (k0 + W0) & 0xFFFFFFFF, (k1 + W1) & 0xFFFFFFFF
    return c0, c1, c2, c3


def bits(counter: np.ndarray[Any, np.dtype[np.int64]], count: int) -> Words:
    """The first `count` words of a draw. counter: (3,) int64, [seed, stream, offset]."""
    seed, stream, offset = (int(word) % WORD for word in counter)
    blocks = -(-count // 4)
    out = np.empty((blocks, 4), np.uint32)
    for start in range(0, blocks, CHUNK):
        number = np.arange(start, min(start + CHUNK, blocks), dtype=np.uint64) + np.uint64(offset)
        words = (number & LOW, number >> HALF, np.full_like(number, stream & 0xFFFFFFFF))
        block = philox_block((*words, np.uint64(stream >> 32)), (seed & 0xFFFFFFFF, seed >> 32))
        for lane, word in enumerate(block):
            out[start : start + CHUNK, lane] = word
    return out.reshape(-1)[:count]


def uniform(counter: np.ndarray[Any, np.dtype[np.int64]], count: int) -> Floats:
    """(count,) float32 in [0, 1): multiples of 2^-24."""
    u: Floats = (bits(counter, count) >> np.uint32(8)).astype(np.float32)
    u *= np.float32(2.0**-24)
    return u


def normal(counter: np.ndarray[Any, np.dtype[np.int64]], count: int) -> Floats:
    """(count,) float32 from the standard normal distribution; two words give two numbers."""
    words = bits(counter, count + count % 2).reshape(-1, 2)
    out = np.empty(words.shape, np.float32)
    for start in range(0, len(words), 2 * CHUNK):
        part = slice(start, start + 2 * CHUNK)
        out[part, 0], out[part, 1] = box_muller(words[part, 0], words[part, 1])
    return out.reshape(-1)[:count]


def box_muller(first: Words, second: Words) -> tuple[Floats, Floats]:
    """sqrt(-2 log u)·(cos 2πv, sin 2πv) for u, v from two words (Box and Muller 1958)."""
    u = first.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)  # never 0
    radius = np.sqrt(_log(u) * np.float32(-2))
    cosine, sine = _cos_sin(second)
    return radius * cosine, radius * sine


def _log(u: Floats) -> Floats:
    """log u = e·log 2 + log m with m in [sqrt(1/2), sqrt(2)); log m = 2·artanh((m-1)/(m+1)), a
    series."""
    pattern = u.view(np.int32)
    exponent = (pattern - np.int32(0x3F3504F3)) >> np.int32(23)
    m = (pattern - (exponent << np.int32(23))).view(np.float32)
    s = (m - np.float32(1)) / (m + np.float32(1))
    z = s * s
    series = np.float32(1 / 9)
    for term in (1 / 7, 1 / 5, 1 / 3):
        series = series * z + np.float32(term)
    tail = s + s
    artanh = tail + tail * (z * series)
    whole: Floats = exponent.astype(np.float32) * np.float32(0.6931471805599453)
    whole += artanh
    return whole


def _cos_sin(word: Words) -> tuple[Floats, Floats]:
    """cos and sin of 2π·word/2^32: the nearest quarter turn exactly, the remainder by series."""
    shifted = word + np.uint32(1 << 29)
    quarter = shifted >> np.uint32(30)
    rest = (shifted & np.uint32((1 << 30) - 1)).astype(np.int32) - np.int32(1 << 29)
    t = rest.astype(np.float32) * np.float32(1.4629180792671596e-9)  # 2π / 2^32
    z = t * t
    cosine = np.float32(-1 / 3628800)
    for term in (1 / 40320, -1 / 720, 1 / 24, -1 / 2, 1):
        cosine = cosine * z + np.float32(term)
    sine = np.float32(1 / 362880)
    for term in (-1 / 5040, 1 / 120, -1 / 6):
        sine = sine * z + np.float32(term)
    sine = t + t * (z * sine)
    swap = (quarter & np.uint32(1)) != 0
    turned_cos = np.where(swap, sine, cosine)
    turned_sin = np.where(swap, cosine, sine)
    negative_cos = (quarter == 1) | (quarter == 2)
    return (
        np.where(negative_cos, -turned_cos, turned_cos),
        np.where(quarter >= np.uint32(2), -turned_sin, turned_sin),
    )


_taking = threading.Lock()  # so that threads sharing a generator draw different numbers


class Generator:
    """A position in a stream of random numbers: (seed, stream, offset). A draw advances the offset.

    seed, stream: integers from 0 to 2^64 - 1 (negative ones wrap). Streams of one seed never
    overlap.
    """

    def __init__(self, seed: int = 0, stream: int = 0) -> None:
        self.stream = int(stream) % WORD
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Restart at the beginning of this seed's stream."""
        self.seed = int(seed) % WORD
        self.offset = 0
        return self

    def initial_seed(self) -> int:
        return self.seed

    def take(self, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The counter of a draw of `count` words, (3,) int64; later draws do not overlap it."""
        with _taking:
            counter = self.get_state()
            self.offset = (self.offset + -(-count // 4)) % WORD
        return counter

    def take_seed(self) -> int:
        """A seed from 0 to 2^64 - 1 for another generator."""
        low, high = bits(self.take(2), 2).tolist()
        return int(low | high << 32)

    def get_state(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(3,) int64: seed, stream, offset; for checkpoints."""
        return np.array([self.seed, self.stream, self.offset], np.uint64).view(np.int64)

    def set_state(self, state: Any) -> Generator:
        """Return to a position from get_state."""
        words = np.asarray(state)
        if words.shape != (3,) or words.dtype.kind not in "iu":
            raise ValueError(
                f"set_state: got {words.dtype} {list(words.shape)}; it must be what get_state "
                "returned, three integers (seed, stream, offset)"
            )
        self.seed, self.stream, self.offset = (int(word) % WORD for word in words)
        return self

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, stream={self.stream}, offset={self.offset})"


_default = Generator()


def default_generator(device: Any = None) -> Generator:
    """The generator used when none is given. All devices share it, so a program draws the same
    numbers wherever it runs."""
    return _default


def manual_seed(seed: int) -> Generator:
    """Restart the default generator at the beginning of this seed's stream."""
    return _default.manual_seed(seed)


def initial_seed() -> int:
    """The seed of the default generator."""
    return _default.seed


def get_rng_state() -> np.ndarray[Any, np.dtype[np.int64]]:
    """The position of the default generator, (3,) int64; see Generator.get_state."""
    return _default.get_state()


def set_rng_state(new_state: Any) -> None:
    """Return the default generator to a position from get_rng_state."""
    _default.set_state(new_state)


@contextmanager
def rng_state(state: Any) -> Iterator[None]:
    """Inside the `with` block the default generator draws from `state` (see get_rng_state);
    afterwards it continues as if the block had not drawn."""
    before = get_rng_state()
    set_rng_state(state)
    try:
        yield
    finally:
        set_rng_state(before)
