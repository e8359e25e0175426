"""CudaClock on a fake CuPy: what it times, captures, keeps and frees."""

import sys
import types
from contextlib import contextmanager, nullcontext

import pytest

from gpudl.bench.timing import in_turns


class FakeCupy(types.ModuleType):
    """Submitting work advances the time: by `cost` and Python's share per call, less in a graph."""

    def __init__(self):
        super().__init__("cupy")
        self.now, self.cost, self.capturing, self.broken = 0.0, 1e-5, None, False
        self.log, self.pools, clock = [], [], self

        class Event:
            def record(self, stream):
                self.at = clock.now

            def synchronize(self):
                pass

        class Stream:
            ptr = 7

            def __init__(self, non_blocking=False):
                assert non_blocking

            def __enter__(self):
                clock.log.append("stream")

            def __exit__(self, *_):
                pass

            def synchronize(self):
                pass

            def begin_capture(self):
                clock.capturing = []

            def end_capture(self):
                calls, clock.capturing = clock.capturing, None
                if clock.broken:
                    raise RuntimeError("capture was invalidated")
                return types.SimpleNamespace(launch=lambda stream: clock.replay(calls))

        class MemoryPool:
            def __init__(self):
                clock.pools.append(self)

            malloc = None

        @contextmanager
        def using_allocator(_):
            yield

        self.cuda = types.SimpleNamespace(
            Event=Event, Stream=Stream, MemoryPool=MemoryPool, using_allocator=using_allocator,
            Device=lambda index: nullcontext(),
            get_elapsed_time=lambda start, stop: (stop.at - start.at) * 1e3,
            runtime=types.SimpleNamespace(deviceSynchronize=lambda: None),
        )  # fmt: skip
        blocks = types.SimpleNamespace(free_all_blocks=lambda: self.log.append("freed"))
        self.get_default_memory_pool = lambda: blocks

    def call(self):
        """Acts as a launcher: work on the stream, or a node of the graph."""
        if self.capturing is None:
            self.now += self.cost + 2e-5  # Python's share
        else:
            self.capturing.append(self.cost)
        return object()

    def replay(self, calls):
        self.now += 5e-6 + sum(calls)


@pytest.fixture
def cupy(monkeypatch):
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


@pytest.fixture
def clock(cupy):
    from gpudl.bench.cuda_clock import CudaClock

    return CudaClock(0)


def test_short_calls_are_timed_as_a_graph_of_all_sets(cupy, clock):
    calls = [cupy.call] * 10
    with clock.active():
        loop = clock.shortened(clock.loop(calls), calls, peer=False)
        assert (loop.how, loop.calls) == ("graph", 10)
        seconds = in_turns({"gpudl": loop}, clock, turns=3)["gpudl"]
    assert seconds.median == pytest.approx(1e-5 + 5e-6 / 10)
    pool, outputs = loop.run.kept
    assert pool in cupy.pools
    assert len(outputs) == 10


def test_long_calls_are_timed_directly(cupy, clock):
    cupy.cost = 1e-3
    calls = [cupy.call]
    loop = clock.shortened(clock.loop(calls), calls, peer=False)
    assert (loop.how, loop.calls) == ("calls", 1)
    assert clock.measure(loop, 4) == pytest.approx(1e-3 + 2e-5)


def test_calls_that_cannot_be_captured_are_timed_directly(cupy, clock):
    cupy.broken = True
    calls = [cupy.call] * 2
    loop = clock.shortened(clock.loop(calls), calls, peer=False)
    assert loop.how == "calls"


def test_free_empties_both_pools(cupy, clock):
    clock.torch = types.SimpleNamespace(
        cuda=types.SimpleNamespace(empty_cache=lambda: cupy.log.append("emptied"))
    )
    clock.free()
    assert cupy.log == ["freed", "emptied"]
