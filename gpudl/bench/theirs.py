"""PyTorch at its best: what it is told before it is measured, and its calls."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpudl.bench.workload import Workload

Call = Callable[[], Any]


def load(threads: int) -> Any:
    """The module torch, None where it is not installed. To be called before CuPy is loaded: each
    brings CUDA's libraries, and PyTorch is the one that looks for its own."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return torch


def configure(torch: Any, precision: str) -> dict[str, Any]:
    """cudnn.benchmark on; TF32 where `precision` allows it, and only there. What was set."""
    tf32 = precision != "highest"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions have newer names for the same switches
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = tf32
    return {
        "float32_matmul_precision": precision,
        "cudnn.benchmark": True,
        "cudnn.allow_tf32": tf32,
    }


def tensor(torch: Any, array: Any) -> Any:
    """The same memory as a tensor: NumPy's or CuPy's array, bfloat16 too, any strides."""
    if array is None:
        return None
    bits = array.view(np.int16) if array.dtype.name == "bfloat16" else array
    shared = torch.from_numpy(bits) if isinstance(bits, np.ndarray) else torch.from_dlpack(bits)
    return shared.view(torch.bfloat16) if bits is not array else shared


class Theirs:
    """The peer's calls on the inputs that ours have: one set of them."""

    def __init__(self, torch: Any, work: Workload, inputs: Sequence[Any]) -> None:
        self.torch, self.work = torch, work
        self.tensors = [tensor(torch, a) for a in inputs]
        if work.op.mutates:  # each side changes its own
            self.tensors = [None if t is None else t.clone() for t in self.tensors]
        self.twin: Any = work.op.twin

    def forward(self, compiled: bool = False) -> Call | None:
        torch, tensors = self.torch, self.tensors
        if self.work.peer is not None:
            return self.work.peer(torch, *tensors)
        if self.twin is None:
            return None
        twin = self._compiled() if compiled else self._plain()

        def call() -> Any:
            with torch.no_grad():
                return twin(*tensors)

        return call

    def backward(self, direction: str, dy: Any, compiled: bool = False) -> Call | None:
        """dy: our array of the gradient of the first output."""
        if self.twin is None or self.work.peer is not None:
            return None
        torch = self.torch
        needs = self.work.needs(direction)
        leaves = [
            t if t is None or not need else t.detach().requires_grad_()
            for t, need in zip(self.tensors, needs, strict=True)
        ]
        out = (self._compiled() if compiled else self._plain())(*leaves)
        first = out[0] if isinstance(out, tuple) else out
        wanted = [t for t, need in zip(leaves, needs, strict=True) if need]
        gradient = tensor(torch, dy)
        return lambda: torch.autograd.grad(first, wanted, gradient, retain_graph=True)

    def _plain(self) -> Callable[..., Any]:
        torch, twin = self.torch, self.twin
        return lambda *tensors: twin(torch, *tensors)

    def _compiled(self) -> Callable[..., Any]:
        import torch._functorch.config as functorch

        functorch.donated_buffer = False  # else backward runs once only
        compiled: Callable[..., Any] = self.torch.compile(self._plain(), dynamic=False)
        return compiled


def replayed(torch: Any, call: Call, device: str) -> Call | None:
    """The call as one launch of a CUDA graph; None on other devices or where it cannot be."""
    if not device.startswith("cuda"):
        return None
    try:
        for _ in range(3):
            call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            call()
        graph.replay()
        torch.cuda.synchronize()
    except RuntimeError:
        return None
    replay: Call = graph.replay
    return replay
