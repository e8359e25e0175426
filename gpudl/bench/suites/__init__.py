"""The suites: each a module with `workloads(scale)`, which lists what is measured, by data.

A new suite is a new file here; its docstring's first line is what `gpudl bench --list` shows.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from gpudl.bench.workload import Procedure, Scale, Workload

NAMES = tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "networks"))


def workloads(name: str, scale: Scale) -> Iterator[Workload | Procedure]:
    """What a suite measures at this scale: with `quick`, only what is marked so."""
    module: Any = importlib.import_module(f"{__name__}.{name}")
    for item in module.workloads(scale):
        if item.quick or not scale.quick:
            yield item


def summary(name: str) -> str:
    """The first line of the suite's docstring."""
    module = importlib.import_module(f"{__name__}.{name}")
    return (module.__doc__ or "").partition("\n")[0]
