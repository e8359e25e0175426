"""Timing on a GPU: events on a stream that CuPy and PyTorch share; CUDA graphs for short calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from gpudl.bench.timing import HostClock, Loop

SHORT = 200e-6  # seconds; below, launch overhead would dominate


class Replay:
    """Launches a graph. kept: the memory that it writes, which must live as long as the graph."""

    def __init__(self, launch: Callable[[], Any], kept: Any) -> None:
        self.launch, self.kept = launch, kept

    def __call__(self) -> None:
        self.launch()


class CudaClock(HostClock):
    """Times by events before and after; the host only submits the work.

    Both sides run on one stream, so the same events time both. Each graph has its own memory pool,
    because nothing else may own the memory that a replay writes.
    """

    def __init__(self, index: int, torch: Any = None) -> None:
        import cupy

        self.cupy, self.torch, self.index = cupy, torch, index
        with cupy.cuda.Device(index):
            self.stream = cupy.cuda.Stream(non_blocking=True)
        super().__init__(self.stream.synchronize)

    @contextmanager
    def active(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.cupy.cuda.Device(self.index))
            stack.enter_context(self.stream)
            if self.torch is not None:
                outer = self.torch.cuda.ExternalStream(self.stream.ptr, device=self.index)
                stack.enter_context(self.torch.cuda.stream(outer))
            yield

    def measure(self, loop: Loop, repeats: int) -> float:
        start, stop = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        start.record(self.stream)
        for _ in range(repeats):
            loop.run()
        stop.record(self.stream)
        stop.synchronize()
        milliseconds = self.cupy.cuda.get_elapsed_time(start, stop)
        return float(milliseconds) / 1e3 / (repeats * loop.calls)

    def shortened(self, loop: Loop, calls: Sequence[Callable[[], Any]], peer: bool) -> Loop:
        """A graph of the calls; `loop` itself if they are long or cannot be captured."""
        self.measure(loop, 1)  # loads the code
        if self.measure(loop, 1) > SHORT:
            return loop
        try:
            replay = self._torch_graph(calls) if peer else self._graph(calls)
            replay()
            self.wait()
        except Exception:
            self._forget_errors()
            return loop
        return Loop(replay, len(calls), "graph")

    def _graph(self, calls: Sequence[Callable[[], Any]]) -> Replay:
        pool = self.cupy.cuda.MemoryPool()
        with self.cupy.cuda.using_allocator(pool.malloc):
            for _ in [call() for call in calls]:  # fills the pool with enough memory for all
                pass
            self.wait()
            self.stream.begin_capture()
            try:
                outputs = [call() for call in calls]
            finally:
                graph = self.stream.end_capture()
        return Replay(lambda: graph.launch(self.stream), (pool, outputs))

    def _torch_graph(self, calls: Sequence[Callable[[], Any]]) -> Replay:
        graph = self.torch.cuda.CUDAGraph()
        self.wait()
        with self.torch.cuda.graph(graph, stream=self.torch.cuda.current_stream()):
            outputs = [call() for call in calls]
        return Replay(graph.replay, (graph, outputs))

    def _forget_errors(self) -> None:
        """Clears the error that a failed capture leaves behind."""
        try:
            self.wait()
        except Exception:
            self.cupy.cuda.runtime.deviceSynchronize()

    def free(self) -> None:
        """Empties both pools: memory cached by CuPy is lost to PyTorch, and the reverse."""
        import gc

        gc.collect()
        with self.cupy.cuda.Device(self.index):
            self.cupy.get_default_memory_pool().free_all_blocks()
        if self.torch is not None:
            self.torch.cuda.empty_cache()
