"""The threads behind the loader."""

import gc
import threading
import time
import weakref

import pytest

from gpudl.data import prefetch
from gpudl.data.prefetch import Prefetch


def test_in_order_whichever_thread_is_faster():
    def make(number):
        time.sleep(0.002 * (number * 7 % 3))
        return number

    assert list(Prefetch(make, 3, 40, workers=4, ahead=8)) == list(range(3, 40))
    assert list(Prefetch(make, 3, 3)) == []


def test_dropping_the_iterator_ends_the_threads():
    iterator = Prefetch(lambda number: number, 0, 1000, workers=2, ahead=3)
    threads, reference = iterator._threads, weakref.ref(iterator)
    next(iterator)
    del iterator
    gc.collect()
    assert reference() is None
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_closing():
    iterator = Prefetch(lambda number: number, 0, 10)
    assert next(iterator) == 0
    iterator.close()
    iterator.close()
    assert list(iterator) == []


def test_the_first_error_is_raised_and_ends_the_iteration():
    def make(number):
        if number % 4 == 3:
            time.sleep(0.02 if number == 3 else 0)
            raise ValueError(f"number {number}")
        return number

    iterator = Prefetch(make, 0, 100, workers=4, ahead=8)
    assert [next(iterator) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="number 3"):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)


def test_dead_threads_raise_instead_of_waiting_forever(monkeypatch):
    """As after a fork: the child has the object but not its threads."""
    monkeypatch.setattr(prefetch, "WATCH", 0.01)
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    monkeypatch.setattr(threading.Thread, "join", lambda self: None)
    iterator = Prefetch(lambda number: number, 0, 10)
    with pytest.raises(RuntimeError, match="the prefetch threads are gone"):
        next(iterator)
