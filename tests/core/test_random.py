"""Random numbers: Philox test vectors, equal bits on all devices, distributions, state."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpudl
from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import random
from gpudl.nn import functional as F
from gpudl.ops.random.fills import DropoutOp, NormalFillOp, UniformFillOp
from tests.ops.harness import native_devices

native = pytest.mark.parametrize("device_name", native_devices())

# Random123's kat_vectors for "philox4x32 10": counter, key, result.
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    (
        [0xFFFFFFFF] * 4,
        [0xFFFFFFFF] * 2,
        [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
    ),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def counter_of(counter, key):
    words = [key[0] | key[1] << 32, counter[2] | counter[3] << 32, counter[0] | counter[1] << 32]
    return np.array(words, np.uint64).view(np.int64)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_known_answers(counter, key, result):
    assert random.bits(counter_of(counter, key), 4).tolist() == result


@native
@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_known_answers_in_kernels(counter, key, result, device_name):
    device = gpudl.device(device_name)
    state = Tensor.from_array(device.asarray(counter_of(counter, key)), device)
    values = np.asarray(apply(UniformFillOp.of((4,)), state))
    assert values.tolist() == [(word >> 8) / 2**24 for word in result]


def test_blocks_continue_past_a_chunk_and_a_carry():
    start = counter_of([0xFFFFFFF0, 7, 1, 2], [3, 4])
    whole = random.bits(start, 4 * random.CHUNK + 104)
    later = start + np.array([0, 0, random.CHUNK + 20])
    np.testing.assert_array_equal(whole[4 * random.CHUNK + 80 :], random.bits(later, 24))


@native
def test_all_draws_have_the_same_bits_on_every_device(device_name):
    def draws(device):
        g = gpudl.Generator(7, stream=2)
        probabilities = gpudl.rand(4, 33, generator=g, device=device)
        return [
            probabilities,
            gpudl.randn(5, 7, 3, generator=g, device=device),
            gpudl.normal(-3, 0.1, (40,), generator=g, device=device),
            gpudl.randint(-5, 1000, (31,), generator=g, device=device),
            gpudl.randperm(50, generator=g, device=device),
            gpudl.bernoulli(probabilities, generator=g),
            F.dropout(probabilities, 0.3, generator=g),
        ]

    for ours, theirs in zip(draws("cpu"), draws(device_name), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@native
def test_many_normals_have_the_same_bits(device_name):
    device = gpudl.device(device_name)
    for seed in range(3):
        counter = np.array([seed, 0, 0], np.int64)
        ours = random.normal(counter, 20000)
        theirs = apply(
            NormalFillOp.of((20000,)), Tensor.from_array(device.asarray(counter), device)
        )
        np.testing.assert_array_equal(ours, np.asarray(theirs))


@native
def test_dropout_does_not_depend_on_memory_order(device_name):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    counter = np.array([1, 2, 3], np.int64)
    results = []
    for name, array in [
        ("cpu", x),
        ("cpu", channels_last),
        (device_name, x),
        (device_name, channels_last),
    ]:
        device = gpudl.device(name)
        tensors = [Tensor.from_array(device.asarray(a), device) for a in (array, counter)]
        tensors[0].requires_grad = True
        y = apply(DropoutOp.of(0.4), *tensors)
        y.backward(Tensor(np.ones_like(x), device=name))
        results.append((np.asarray(y), np.asarray(tensors[0].grad)))
    for y, dx in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        np.testing.assert_array_equal(dx, results[0][1])


def test_normals_against_exact_arithmetic():
    """The Box-Muller formula in float64, including the ends of both intervals."""
    edge = np.array([0, 1, 2**31, 2**32 - 1, 2**32 - 200, 3037000499, 3037000500], np.uint32)
    turns = np.array([0, 2**29 - 1, 2**29, 2**30, 2**31, 2**32 - 1, 3 << 30], np.uint32)
    words = random.bits(np.array([5, 0, 0]), 400000).reshape(2, -1)
    first = np.concatenate([np.repeat(edge, len(turns)), words[0]])
    second = np.concatenate([np.tile(turns, len(edge)), words[1]])
    u = first.astype(np.float32).astype(np.float64) * 2.0**-32 + 2.0**-33
    u = u.astype(np.float32).astype(np.float64)  # the float32 argument of the logarithm
    radius = np.sqrt(-2 * np.log(u))
    angle = 2 * math.pi * second.astype(np.float64) / 2**32
    for actual, exact in zip(
        random.box_muller(first, second), (np.cos(angle), np.sin(angle)), strict=True
    ):
        error = np.abs(actual.astype(np.float64) - radius * exact)
        assert np.all(np.isfinite(actual))
        assert error.max() <= 1e-6
        assert (error / np.maximum(radius, 1e-30)).max() <= 5e-7


def test_distributions():
    """Moments and tails, within five standard errors."""
    n = 400000
    u = random.uniform(np.array([11, 0, 0]), n).astype(np.float64)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 / math.sqrt(12 * n)
    z = random.normal(np.array([12, 0, 0]), n).astype(np.float64)
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / n)
    for edge in (-2.0, 0.5, 3.0):
        p = 0.5 * math.erfc(edge / math.sqrt(2))
        assert abs((z > edge).mean() - p) < 5 * math.sqrt(p * (1 - p) / n)
    g = gpudl.Generator(13)
    dice = np.bincount(np.asarray(gpudl.randint(1, 7, (60000,), generator=g)), minlength=7)
    assert dice[0] == 0
    assert np.abs(dice[1:] - 10000).max() < 5 * math.sqrt(10000)
    assert sorted(gpudl.randperm(1000, generator=g).tolist()) == list(range(1000))


def test_seed_and_state():
    gpudl.manual_seed(3)
    first = gpudl.randn(5, 3)
    state = gpudl.get_rng_state()
    second = gpudl.rand(10)
    assert gpudl.initial_seed() == 3
    gpudl.set_rng_state(state)
    np.testing.assert_array_equal(gpudl.rand(10).numpy(), second.numpy())
    gpudl.manual_seed(3)
    np.testing.assert_array_equal(gpudl.randn(5, 3).numpy(), first.numpy())
    big = gpudl.Generator(-1, stream=2**64 - 1)
    big.take(9)
    copy = gpudl.Generator().set_state(big.get_state())
    assert repr(copy) == repr(big) == f"Generator(seed={2**64 - 1}, stream={2**64 - 1}, offset=3)"
    with pytest.raises(ValueError, match="three integers"):
        big.set_state([1.0, 2.0, 3.0])


def test_dropout_function():
    x = gpudl.ones(1000)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    y = F.dropout(x, 0.25, generator=gpudl.Generator(1)).numpy()
    assert set(np.unique(y)) == {0, np.float32(1) / np.float32(0.75)}
    assert abs((y == 0).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 1000)
    changed = gpudl.ones(1000)
    assert F.dropout(changed, 0.25, inplace=True, generator=gpudl.Generator(1)) is changed
    np.testing.assert_array_equal(changed.numpy(), y)
    with pytest.raises(ValueError, match="dropout: p is 2"):
        F.dropout(x, 2)


def test_arguments_of_random_constructors():
    x = gpudl.randn((2, 3), dtype="float64", requires_grad=True)
    assert (x.shape, x.dtype, x.requires_grad) == ((2, 3), np.float64, True)
    assert gpudl.rand_like(x).dtype == np.float64
    assert gpudl.randint_like(x, 5).dtype == np.float64
    assert gpudl.randint(5, (2,)).dtype == np.int64
    assert gpudl.randn(2, 3, device="meta").shape == (2, 3)
    with pytest.raises(ValueError, match="low is 3; it must be below high, 3"):
        gpudl.randint(3, 3, (1,))


def test_constructors_against_numpy():
    cases = [
        (gpudl.zeros(2, 3), np.zeros((2, 3), np.float32)),
        (gpudl.ones((2,), dtype="int64"), np.ones(2, np.int64)),
        (gpudl.full((2, 2), 7), np.full((2, 2), 7)),
        (gpudl.full((2,), 0.5), np.full(2, 0.5, np.float32)),
        (gpudl.full((1,), True), np.full(1, True)),
        (gpudl.arange(5), np.arange(5)),
        (gpudl.arange(5, 1, -2), np.arange(5, 1, -2)),
        (gpudl.arange(0, 1, 0.25), np.arange(0, 1, 0.25, np.float32)),
        (gpudl.linspace(-1, 1, 5), np.linspace(-1, 1, 5, dtype=np.float32)),
        (gpudl.eye(2, 3), np.eye(2, 3, dtype=np.float32)),
    ]
    for ours, expected in cases:
        assert ours.dtype == expected.dtype
        np.testing.assert_array_equal(ours.numpy(), expected)
    x = gpudl.zeros(3, 2, dtype="float64")
    for like in (gpudl.zeros_like, gpudl.ones_like, gpudl.empty_like):
        assert (like(x).shape, like(x).dtype) == ((3, 2), np.float64)
    assert gpudl.full_like(x, 2).numpy().tolist() == [[2, 2]] * 3
    assert gpudl.zeros(2, device="meta").device.name == "meta"
    with pytest.raises(ValueError, match="arange: step is 0"):
        gpudl.arange(0, 3, 0)
    with pytest.raises(ValueError, match="negative extent"):
        gpudl.zeros(-1)


def test_draws_inside_rng_state_leave_later_draws_unchanged():
    gpudl.manual_seed(3)
    expected = [gpudl.rand(4).tolist() for _ in range(2)]
    gpudl.manual_seed(3)
    values = [gpudl.rand(4).tolist()]
    with random.rng_state((3, 1, 0)):
        other = gpudl.rand(4).tolist()
    values.append(gpudl.rand(4).tolist())
    assert values == expected
    assert other not in expected


def test_threads_that_share_a_generator_draw_different_numbers():
    generator, count = random.Generator(3), 200
    with ThreadPoolExecutor(8) as pool:
        take = lambda _: [int(generator.take(5)[2]) for _ in range(count)]  # noqa: E731
        drawn = list(pool.map(take, range(8)))
    offsets = sorted(offset for thread in drawn for offset in thread)
    assert offsets == list(range(0, 8 * count * 2, 2))  # five words are two blocks


def test_threads_that_share_the_default_generator_draw_different_numbers():
    gpudl.manual_seed(3)
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: tuple(gpudl.rand(4).tolist()), range(400)))
    assert len(set(drawn)) == 400
    gpudl.manual_seed(3)
    assert set(drawn) == {tuple(gpudl.rand(4).tolist()) for _ in range(400)}
