"""Work done ahead of its consumer by background threads, in order and in bounded number."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
WATCH = 5.0  # seconds between looks whether the threads still live


class _Window(Generic[T]):
    """What consumer and threads share. It does not hold the consumer, which can be collected."""

    def __init__(self, make: Callable[[int], T], start: int, stop: int, ahead: int) -> None:
        self.make, self.stop, self.ahead = make, stop, ahead
        self.claimed = start  # the next number that a thread may take
        self.wanted = start  # the next number that the consumer takes
        self.done: dict[int, T | _Failure] = {}
        self.closed = False
        self.changed = threading.Condition()

    def work(self) -> None:
        """Body of a thread: makes the lowest number not yet taken, inside the window."""
        while (number := self._claim()) is not None:
            try:
                result: T | _Failure = self.make(number)
            except StopIteration as error:  # in the consumer it would pass for a regular end
                result = _Failure(RuntimeError(f"a StopIteration escaped: {error!r}"))
            except BaseException as error:  # it belongs to the consumer, whatever it is
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
    """Iterates over make(start), …, make(stop - 1), made by threads, at most `ahead` in advance.

    The order is that of the numbers, whichever thread is faster. An exception in `make` is raised
    where its result would have come. `close`, the end, or dropping the iterator ends the threads.
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
        """What stands at the next number; None at the end."""
        window = self._window
        with window.changed:
            if window.wanted >= window.stop:
                return None
            while not window.changed.wait_for(self._ready, WATCH):
                # After a fork the threads are gone: better an error than a wait without end.
                if not any(thread.is_alive() for thread in self._threads):
                    raise RuntimeError("the prefetch threads are gone (a fork?); begin a new pass")
            if window.closed:
                return None
            window.wanted += 1
            window.changed.notify_all()
            return window.done.pop(window.wanted - 1)

    def _ready(self) -> bool:
        return self._window.closed or self._window.wanted in self._window.done

    def close(self) -> None:
        """Ends the threads and waits for them. Closing again does nothing."""
        self._finalizer()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._threads = []
