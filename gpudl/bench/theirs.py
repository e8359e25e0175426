"""PyTorch as the peer: configured for its best speed, and called like gpudl."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpudl.bench.workload import Workload

Call = Callable[[], Any]


def load(threads: int) -> Any:
    """The module torch, None if it is not installed. Call this before CuPy is imported: both bring
    CUDA's libraries, and PyTorch must load its own."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return torch


def configure(torch: Any, precision: str) -> dict[str, Any]:
    """Turns cudnn.benchmark on, and TF32 if `precision` allows it; returns the settings."""
    tf32 = precision != "highest"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions rename these settings
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = tf32
    return {
        "float32_matmul_precision": precision,
        "cudnn.benchmark": True,
        "cudnn.allow_tf32": tf32,
    }


def tensor(torch: Any, array: Any) -> Any:
    """A NumPy or CuPy array as a tensor that shares its memory; bfloat16 and any strides work."""
    if array is None:
        return None
    bits = array.view(np.int16) if array.dtype.name == "bfloat16" else array
    shared = torch.from_numpy(bits) if isinstance(bits, np.ndarray) else torch.from_dlpack(bits)
    return shared.view(torch.bfloat16) if bits is not array else shared


def function(torch: Any, work: Workload, compiled: bool) -> Callable[..., Any] | None:
    """The twin of the workload's operator, compiled once for all sets of inputs. None if it has no
    twin, or if the workload has its own peer."""
    twin: Any = work.op.twin
    if twin is None or work.peer is not None:
        return None
    plain: Callable[..., Any] = lambda *tensors: twin(torch, *tensors)  # noqa: E731
    if not compiled:
        return plain
    import torch._functorch.config as functorch

    functorch.donated_buffer = False  # else backward could run only once
    optimized: Callable[..., Any] = torch.compile(plain, dynamic=False)
    return optimized


def tensors(torch: Any, work: Workload, inputs: Sequence[Any]) -> list[Any]:
    """Our inputs as tensors; copies if the operator mutates any, so that each side has its own."""
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
    """Gradients of the inputs that need one. dy: gradient of the first output, our array."""
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
    """The call as one launch of a CUDA graph; None on other devices or if capture fails."""
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
