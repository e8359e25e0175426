"""The pages, one module each. To add a page, add a module here; edit nothing else."""

from __future__ import annotations

import difflib
import pkgutil
from importlib import import_module

from gpudl.train.errors import TrainingError
from gpudl.zoo.page import PAGES, Info


def names() -> list[str]:
    """The names of all pages."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        import_module(module.name)
    return sorted(PAGES)


def info(name: str) -> Info:
    """The page with this name. Raises a TrainingError that suggests the nearest name."""
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(known)}"
        raise TrainingError(f"zoo: unknown page {name!r}; {hint}")
    return PAGES[name]
