"""The BLAS library that NumPy multiplies matrices with, and its number of threads.

Sums of products depend on how a product is divided among threads, so a run that is to be repeated
bit for bit fixes their number.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Names of the functions in the libraries in use: NumPy's wheels, distributions, MKL, BLIS.
PREFIXES = ("scipy_openblas", "openblas")
SUFFIXES = ("64_", "_64", "")


class Blas(NamedTuple):
    """A library that is loaded, with its functions; None where it has none of that kind."""

    path: str
    get: Any
    set: Any


@cache
def find() -> Blas | None:
    """The library that this process has loaded; None where it is not one that can be steered."""
    _load()
    for path in _loaded("openblas") or _loaded("libblas", "libflexiblas"):
        for prefix in PREFIXES:
            for suffix in SUFFIXES:
                found = _functions(
                    path,
                    f"{prefix}_get_num_threads{suffix}",
                    f"{prefix}_set_num_threads{suffix}",
                )
                if found:
                    return found
    for path in _loaded("libmkl_rt"):
        if found := _functions(path, "MKL_Get_Max_Threads", "MKL_Set_Num_Threads"):
            return found
    for path in _loaded("libblis"):
        if found := _functions(path, "bli_thread_get_num_threads", "bli_thread_set_num_threads"):
            return found
    return None


def threads() -> int | None:
    """How many threads a product uses at most; None where that is not known."""
    blas = find()
    return int(blas.get()) if blas else None


def set_threads(count: int) -> bool:
    """Use `count` threads from now on; False where the library cannot be told."""
    blas = find()
    if blas is None:
        return False
    blas.set(ctypes.c_int(count))
    return True


def describe() -> str:
    """The library's name and version as NumPy was built with, for people."""
    built: Any = np.show_config(mode="dicts")
    blas = built.get("Build Dependencies", {}).get("blas", {}) if isinstance(built, dict) else {}
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _load() -> None:
    """Some builds of NumPy load the library with the first product."""
    one = np.ones((2, 2), np.float32)
    np.matmul(one, one)


def _loaded(*names: str) -> list[str]:
    """Paths of the libraries of this process whose file names hold one of `names` (Linux)."""
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
