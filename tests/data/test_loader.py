"""Batches: order, augmentation, prefetching, and resuming in the middle of an epoch."""

import itertools
import json
import threading
import time
from typing import NamedTuple

import numpy as np
import pytest

import gpudl
from gpudl.data import ArrayDataset, Loader, Subset

ORDER_0 = [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
ORDER_1 = [5, 3, 7, 8, 2, 4, 1, 0, 6, 9]
DATA = ArrayDataset(np.arange(10) * 10, np.arange(10))


def batches(loader):
    return [labels.tolist() for _, labels in loader]


def test_in_order():
    loader = Loader(DATA, batch_size=4)
    assert batches(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader) == 3
    loader = Loader(DATA, batch_size=4, drop_last=True)
    assert batches(loader) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(loader) == 2
    assert batches(Loader(DATA, batch_size=99)) == [list(range(10))]
    assert [values.tolist() for values, _ in Loader(Subset(DATA, [3, 1]))] == [[30], [10]]


def test_shuffles_by_seed_and_epoch():
    loader = Loader(DATA, batch_size=4, shuffle=True, seed=1)
    first, second = batches(loader), batches(loader)
    assert sorted(itertools.chain(*first)) == list(range(10))
    assert first != second
    assert loader.epoch == 2
    again = Loader(DATA, batch_size=4, shuffle=True, seed=1)
    again.set_epoch(1)
    assert batches(again) == second
    assert batches(Loader(DATA, batch_size=4, shuffle=True, seed=2)) != first
    assert loader.order(0).tolist() == list(itertools.chain(*first))


def test_the_order_is_the_same_in_every_version():
    """Pinned, because a run resumed with another NumPy must see the same order."""
    assert Loader(DATA, shuffle=True, seed=0).order(0).tolist() == ORDER_0
    assert Loader(DATA, shuffle=True, seed=0).order(1).tolist() == ORDER_1


def test_manual_seed_decides_an_order_without_a_seed():
    def orders(seed):
        loader = Loader(DATA, batch_size=10, shuffle=True)
        gpudl.manual_seed(seed)
        return [order for _ in range(2) for order in batches(loader)]

    first = orders(1)
    assert first[0] != first[1]
    assert orders(1) == first
    assert orders(2) != first


def test_an_order_without_a_seed_is_resumed():
    loader = Loader(DATA, batch_size=3, shuffle=True)
    iterator = iter(loader)
    next(iterator)
    state, expected = loader.state_dict(), [labels.tolist() for _, labels in iterator]
    other = Loader(DATA, batch_size=3, shuffle=True)
    other.load_state_dict(state)
    assert batches(other) == expected


def test_reading_in_order_leaves_the_default_generator_alone():
    before = gpudl.get_rng_state()
    batches(Loader(DATA))
    np.testing.assert_array_equal(gpudl.get_rng_state(), before)


class Point(NamedTuple):
    x: np.ndarray
    label: int


SAMPLES = {  # a sample, and the batch of the samples for 0 and 1
    "tuple": (lambda i: (np.full(2, i), i), lambda b: (b[0][:, 1], b[1])),
    "list": (lambda i: [float(i), i], lambda b: b),
    "number": (lambda i: i, lambda b: (b,)),
    "tensor": (lambda i: gpudl.tensor([i]), lambda b: (b[:, 0],)),
    "dictionary": (lambda i: {"x": i, "y": [i]}, lambda b: (b["x"], b["y"][0])),
    "named": (lambda i: Point(np.full(3, i), i), lambda b: (b.x[:, 2], b.label)),
    "nested": (lambda i: (i, {"y": (i, i)}), lambda b: (b[0], b[1]["y"][1])),
}


class Samples:
    def __init__(self, sample, length=4):
        self.sample, self.length = sample, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.sample(index)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_batch_has_the_structure_of_a_sample(kind):
    sample, entries = SAMPLES[kind]
    data = Samples(sample)
    for loader in (Loader(data, 2), Loader(data, 2, device="cpu"), Loader(Subset(data, [0, 1]), 2)):
        batch = next(iter(loader))
        assert [np.asarray(entry).tolist() for entry in entries(batch)] in ([[0, 1]], [[0, 1]] * 2)
    assert type(Subset(data, [3])[0]) is type(sample(3))


@pytest.mark.parametrize("device", [None, "cpu"])
def test_strings_become_a_list(device):
    loader = Loader(Samples(lambda i: {"x": i, "name": f"no. {i}"}), 2, device=device)
    assert next(iter(loader))["name"] == ["no. 0", "no. 1"]


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (lambda i: None, "a sample contains NoneType"),
        (lambda i: np.ones(i + 1), r"samples with shapes \(1,\), \(2,\): all must have the same"),
        (lambda i: {"x": 1} if i else {"y": 1}, r"all must have the keys \['y'\]"),
        (lambda i: (1,) * (i + 1), "all must have 1 entries"),
    ],
)
def test_rejects_samples_that_do_not_match(sample, words):
    with pytest.raises((TypeError, ValueError), match=words):
        next(iter(Loader(Samples(sample), 2)))


def test_rejects_a_data_set_without_length():
    with pytest.raises(TypeError, match="Loader: dataset: generator has no length"):
        Loader(i for i in range(3))


def noise(images, rng):
    return images + rng.random(images.shape)


@pytest.mark.parametrize("num_workers", [0, 1, 2, 5])
def test_batches_do_not_depend_on_threads_or_timing(num_workers):
    def slow_noise(images, rng):
        if num_workers:
            time.sleep(0.003 * (images[0] % 3))
        return noise(images, rng)

    options = {"batch_size": 3, "shuffle": True, "seed": 5}
    loader = Loader(DATA, **options, num_workers=num_workers, transform=slow_noise)
    plain = Loader(DATA, **options, num_workers=0, transform=noise)
    for _ in range(2):
        for (images, labels), (expected, order) in zip(loader, plain, strict=True):
            np.testing.assert_array_equal(images, expected)
            np.testing.assert_array_equal(labels, order)


def test_augmentation_changes_with_the_epoch():
    loader = Loader(DATA, batch_size=10, transform=noise)
    (first, _), (second, _) = *loader, *loader
    assert (first != second).all()


@pytest.mark.parametrize("stop", range(4))
@pytest.mark.parametrize("num_workers", [0, 2])
def test_resumes_in_the_middle_of_an_epoch(stop, num_workers):
    def build():
        return Loader(
            DATA, batch_size=4, shuffle=True, seed=7, transform=noise, num_workers=num_workers
        )

    whole = build()
    expected = [images for _ in range(3) for images, _ in whole]

    interrupted = build()
    for _ in range(2):
        seen = []
        batch = iter(interrupted)
        if interrupted.epoch == 1:
            seen = [next(batch) for _ in range(stop)]
        else:
            list(batch)
    state = json.loads(json.dumps(interrupted.state_dict()))
    assert (state["epoch"], state["batch"], len(seen)) == (1, stop, stop)

    resumed = build()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    rest = [images for images, _ in resumed] + [images for images, _ in resumed]
    assert len(rest) == 6 - stop
    for images, wanted in zip(rest, expected[3 + stop :], strict=True):
        np.testing.assert_array_equal(images, wanted)
    assert resumed.epoch == 3


def test_the_state_counts_batches_yielded_not_prepared():
    loader = Loader(DATA, prefetch_factor=5)
    iterator = iter(loader)
    next(iterator)
    time.sleep(0.05)
    assert loader.state_dict()["batch"] == 1


def test_an_interrupted_pass_starts_over():
    loader = Loader(DATA, batch_size=4, shuffle=True, seed=3)
    first = next(iter(loader))[1].tolist()
    assert next(iter(loader))[1].tolist() == first
    assert loader.epoch == 0


def test_only_the_latest_pass_counts():
    loader = Loader(DATA, batch_size=5)
    old = iter(loader)
    next(old)
    new = iter(loader)
    next(new)
    list(old)
    assert loader.state_dict()["batch"] == 1
    assert loader.epoch == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 11}, "samples is 10, but 11 in the state; build the loader with the same"),
        ({"seed": 1}, "seed is 0"),
        ({"batch_size": 2}, "batch_size is 4"),
        ({"shuffle": True}, "shuffle is False"),
        ({"batch": 4}, "expected integers, batch from 0 to 3"),
        ({"batch": -1}, "batch -1"),
        ({"epoch": None}, "epoch None"),
        ({"epoch": -1}, "epoch: -1"),
    ],
)
def test_refuses_the_state_of_another_loader(changes, message):
    loader = Loader(DATA, batch_size=4)
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict({**loader.state_dict(), **changes})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "Loader: batch_size: 0, expected a whole number from 1 up"),
        ({"batch_size": 2.0}, "batch_size: 2.0"),
        ({"batch_size": True}, "batch_size: True"),
        ({"num_workers": -1}, "num_workers: -1"),
        ({"prefetch_factor": 0}, "prefetch_factor: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"seed": "a"}, "seed: 'a'"),
        ({"batch_size": 11, "drop_last": True}, "drop_last leaves no batch"),
        ({"dataset": ArrayDataset([])}, "Loader: dataset: is empty"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        Loader(**{"dataset": DATA, **options})


def test_set_epoch_refuses():
    with pytest.raises(ValueError, match="set_epoch: epoch: -1"):
        Loader(DATA).set_epoch(-1)


def test_any_object_with_a_length_and_an_index_is_a_data_set():
    samples = [(np.full(2, n), n) for n in range(3)]
    images, labels = next(iter(Loader(samples, batch_size=3)))
    assert images.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert labels.tolist() == [0, 1, 2]
    values = next(iter(Loader([1.5, 2.5], batch_size=2)))
    assert values.tolist() == [1.5, 2.5]


@pytest.mark.parametrize("device", ["cpu", gpudl.device("cpu"), "meta"])
def test_tensors_on_a_device(device):
    images, labels = next(iter(Loader(DATA, batch_size=3, device=device)))
    assert str(images.device) == str(device)
    assert images.shape == (3,)
    assert str(device) == "meta" or labels.tolist() == [0, 1, 2]


def test_refuses_an_unknown_device_at_once():
    with pytest.raises(ValueError, match="abacus"):
        Loader(DATA, device="abacus")


def threads():
    return [thread for thread in threading.enumerate() if "gpudl-prefetch" in thread.name]


def test_no_thread_outlives_a_complete_or_interrupted_pass():
    loader = Loader(DATA, num_workers=3)
    list(loader)
    assert not threads()
    for _ in loader:
        assert threads()
        break
    assert not threads()


@pytest.mark.parametrize("error", [KeyError, StopIteration, KeyboardInterrupt])
@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_errors_are_raised_in_place_of_their_batch(error, num_workers):
    def fail(images, rng):
        if images[0] == 40:
            raise error("in the transform")
        return images

    loader = Loader(DATA, transform=fail, num_workers=num_workers)
    iterator = iter(loader)
    assert [next(iterator)[1].item() for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(RuntimeError if error is StopIteration else error):
        next(iterator)
    assert not threads()
    assert loader.state_dict()["batch"] == 4


def test_memory_is_bounded():
    """With a slow consumer, no more batches are prepared ahead than requested."""
    prepared = []

    def count(images, rng):
        prepared.append(images)
        return images

    for number, _ in enumerate(Loader(DATA, transform=count, num_workers=2, prefetch_factor=2)):
        time.sleep(0.005)
        assert len(prepared) <= number + 1 + 4
