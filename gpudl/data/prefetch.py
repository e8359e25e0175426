"""Background threads that prepare results ahead of their consumer, in order and within a bound."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
WATCH = 5.0  # seconds between checks that the threads are alive


class _Window(Generic[T]):
    """State shared by consumer and threads. It does not refer to the consumer, so that the garbage
    collector can free it."""

    def __init__(self, make: Callable[[int], T], start: int, stop: int, ahead: int) -> None:
        self.make, self.stop, self.ahead = make, stop, ahead
        self.claimed = start  # the next number that a thread may take
        self.wanted = start  # the next number that the consumer takes
        self.done: dict[int, T | _Failure] = {}
        self.closed = False
        self.changed = threading.Condition()

    def work(self) -> None:
        """Body of a thread: computes the lowest unclaimed number within the window."""
        while (number := self._claim()) is not None:
            try:
                result: T | _Failure = self.make(number)
            except StopIteration as error:  # the consumer would take it for the end
                result = _Failure(RuntimeError(f"a prefetch thread raised {error!r}"))
            except BaseException as error:  # raised again in the consumer
                result = _Failure(error)
            with self.changed:
                if isinstance(result, _Failure):
                    self.stop = min(self.stop, number + 1)
                self.done[number] = result
                self.changed.notify_all()
            del result

    def _claim(self) -> int | None:
        with self.changed:
            self.changed.wait_for(
                lambda: (
                    self.closed
                    or self.claimed >= self.stop
                    or self.claimed < self.wanted + self.ahead
                )
            )
            if self.closed or self.claimed >= self.stop:
                return None
            self.claimed += 1
            return self.claimed - 1

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.done.clear()
            self.changed.notify_all()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class Prefetch(Generic[T]):
    """Iterates over make(start), …, make(stop - 1), computed by threads at most `ahead` in advance.

    Results come in order, whichever thread is faster. An exception in `make` is raised in place of
    its result. The threads end with the iteration, on `close`, or when the iterator is dropped.
    """

    def __init__(
        self, make: Callable[[int], T], start: int, stop: int, workers: int = 1, ahead: int = 2
    ) -> None:
        self._window = _Window(make, start, stop, ahead)
        self._threads = [
            threading.Thread(target=self._window.work, name=f"gpudl-prefetch-{n}", daemon=True)
            for n in range(min(workers, stop - start))
        ]
        self._finalizer = weakref.finalize(self, self._window.close)
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Prefetch[T]:
        return self

    def __next__(self) -> T:
        result = self._take()
        if result is None:
            self.close()
            raise StopIteration
        if isinstance(result, _Failure):
            self.close()
            try:
                raise result.error
            finally:
                del result  # its traceback holds this frame
        return result

    def _take(self) -> T | _Failure | None:
        """The result for the next number; None at the end."""
        window = self._window
        with window.changed:
            if window.wanted >= window.stop:
                return None
            while not window.changed.wait_for(self._ready, WATCH):
                # A fork loses the threads; raise rather than wait forever.
                if not any(thread.is_alive() for thread in self._threads):
                    raise RuntimeError("the prefetch threads are gone (a fork?); start a new pass")
            if window.closed:
                return None
            window.wanted += 1
            window.changed.notify_all()
            return window.done.pop(window.wanted - 1)

    def _ready(self) -> bool:
        return self._window.closed or self._window.wanted in self._window.done

    def close(self) -> None:
        """End the threads and wait for them. A second call does nothing."""
        self._finalizer()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._threads = []
