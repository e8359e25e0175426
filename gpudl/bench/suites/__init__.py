"""The suites. Each is a module with `workloads(scale)`, which yields what to measure.

To add a suite, add a file here. `gpudl bench --list` shows the first line of its docstring.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from gpudl.bench.workload import Procedure, Scale, Workload

NAMES = tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "networks"))


def workloads(name: str, scale: Scale) -> Iterator[Workload | Procedure]:
    """The entries of a suite at this scale; with `scale.quick`, only those marked quick."""
    module: Any = importlib.import_module(f"{__name__}.{name}")
    for item in module.workloads(scale):
        if item.quick or not scale.quick:
            yield item


def summary(name: str) -> str:
    """The first line of the suite's docstring."""
    module = importlib.import_module(f"{__name__}.{name}")
    return (module.__doc__ or "").partition("\n")[0]
