"""Benchmarks: suites of workloads, timed for gpudl and PyTorch, on any device.

`suites/` lists the workloads, `runner.py` measures them, `report.py` writes and prints the results,
`compare.py` compares two reports, `plots.py` draws them.
"""

from gpudl.bench.facts import environment
from gpudl.bench.runner import Bench, Settings
from gpudl.bench.timing import Timing, in_turns

__all__ = ["Bench", "Settings", "Timing", "environment", "in_turns"]
