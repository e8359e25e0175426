"""The BLAS library behind NumPy's matrix products, and its number of threads.

How a product is divided among threads affects its rounding, so a run that must be repeatable bit
for bit fixes their number.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Prefixes and suffixes of OpenBLAS's function names in NumPy's wheels and in distributions.
PREFIXES = ("scipy_openblas", "openblas")
SUFFIXES = ("64_", "_64", "")


class Blas(NamedTuple):
    """A loaded library with its functions that get and set the number of threads."""

    path: str
    get: Any
    set: Any


@cache
def find() -> Blas | None:
    """The library loaded by this process; None if its number of threads cannot be set."""
    _load()
    for path in _loaded("openblas") or _loaded("libblas", "libflexiblas"):
        for prefix in PREFIXES:
            for suffix in SUFFIXES:
                blas = _functions(
                    path,
                    f"{prefix}_get_num_threads{suffix}",
                    f"{prefix}_set_num_threads{suffix}",
                )
                if blas:
                    return blas
    for path in _loaded("libmkl_rt"):
        if blas := _functions(path, "MKL_Get_Max_Threads", "MKL_Set_Num_Threads"):
            return blas
    for path in _loaded("libblis"):
        if blas := _functions(path, "bli_thread_get_num_threads", "bli_thread_set_num_threads"):
            return blas
    return None


def threads() -> int | None:
    """The maximum number of threads per product; None if unknown."""
    blas = find()
    return int(blas.get()) if blas else None


def set_threads(count: int) -> bool:
    """Use `count` threads from now on. Returns False if the library does not allow it."""
    blas = find()
    if blas is None:
        return False
    blas.set(ctypes.c_int(count))
    return True


def describe() -> str:
    """Name and version of the library that NumPy was built with, for display."""
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {}) if isinstance(config, dict) else {}
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _load() -> None:
    """Computes a product: some builds of NumPy load the library only then."""
    one = np.ones((2, 2), np.float32)
    np.matmul(one, one)


def _loaded(*names: str) -> list[str]:
    """Paths of this process's libraries whose file names contain one of `names` (Linux)."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    paths = {line[line.index("/") :] for line in lines if "/" in line}
    # NumPy's own copy first: SciPy's wheels bring another one.
    ranked = sorted(paths, key=lambda path: ("numpy" not in path, path))
    return [path for path in ranked if any(name in Path(path).name for name in names)]


def _functions(path: str, get: str, set_: str) -> Blas | None:
    try:
        library = ctypes.CDLL(path)
        return Blas(path, getattr(library, get), getattr(library, set_))
    except (OSError, AttributeError):
        return None
