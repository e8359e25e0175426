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


def function(torch: Any, work: Workload, compiled: bool) -> Callable[..., Any] | None:
    """The twin of the workload's operator, compiled once for all sets of inputs; None if there is
    none, or the workload brings its own peer."""
    twin: Any = work.op.twin
    if twin is None or work.peer is not None:
        return None
    plain: Callable[..., Any] = lambda *tensors: twin(torch, *tensors)  # noqa: E731
    if not compiled:
        return plain
    import torch._functorch.config as functorch

    functorch.donated_buffer = False  # else backward runs once only
    made: Callable[..., Any] = torch.compile(plain, dynamic=False)
    return made


def tensors(torch: Any, work: Workload, inputs: Sequence[Any]) -> list[Any]:
    """Our inputs as PyTorch's; each side changes its own where the operator changes some."""
    shared = [tensor(torch, a) for a in inputs]
    if not work.op.mutates:
        return shared
    return [None if t is None else t.clone() for t in shared]


def forward(torch: Any, run: Callable[..., Any], inputs: Sequence[Any]) -> Call:
    def call() -> Any:
        with torch.no_grad():
            return run(*inputs)

    return call


def backward(
    torch: Any, run: Callable[..., Any], inputs: Sequence[Any], needs: Sequence[bool], dy: Any
) -> Call:
    """Gradients of the inputs that need one. dy: our array of the first output's gradient."""
    leaves = [
        t if t is None or not need else t.detach().requires_grad_()
        for t, need in zip(inputs, needs, strict=True)
    ]
    out = run(*leaves)
    first = out[0] if isinstance(out, tuple) else out
    wanted = [t for t, need in zip(leaves, needs, strict=True) if need]
    gradient = tensor(torch, dy)
    return lambda: torch.autograd.grad(first, wanted, gradient, retain_graph=True)


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
