"""Measurements: a training step as a whole, and each operator by itself, ours beside PyTorch's."""

from gpudl.bench.environment import environment
from gpudl.bench.kernels import bench_kernels
from gpudl.bench.steps import bench_steps
from gpudl.bench.timing import Timing, in_turns

__all__ = ["Timing", "bench_kernels", "bench_steps", "environment", "in_turns"]
