"""Measurements: suites of workloads, ours beside PyTorch's, on any device.

`suites/` lists what is measured, `runner.py` measures it, `report.py` writes and prints it,
`compare.py` tells what changed between two reports, `plots.py` draws them.
"""

from gpudl.bench.environment import environment
from gpudl.bench.runner import Bench, Settings
from gpudl.bench.timing import Timing, in_turns

__all__ = ["Bench", "Settings", "Timing", "environment", "in_turns"]
