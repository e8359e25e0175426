"""Show what works on this machine, and how to install what is missing.

Checks devices, native modules, compilers, driver, CuPy, BLAS, packages and data. The exit code is 2
if driver, toolkit and CuPy are incompatible.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from gpudl.cli.errors import USAGE
from gpudl.core.terminal import columns, say, wrapped

LEAST_DRIVER = {12: "525", 13: "580"}  # oldest NVIDIA driver by CUDA's major version
PACKAGES = {
    "numpy": "pip install numpy",
    "safetensors": "pip install safetensors",
    "tqdm": "pip install tqdm",
    "matplotlib": "for pictures: pip install 'gpudl[train]'",
    "pillow": "for image files: pip install 'gpudl[train]'",
    "pooch": "for downloads of data: pip install 'gpudl[train]'",
    "scikit-learn": "for gpudl zoo dbn: pip install 'gpudl[zoo]'",
    "torch": "only for comparisons: pip install torch",
}


class Line(NamedTuple):
    """One finding. detail: what is installed, or how to install it."""

    name: str
    works: bool
    detail: str


def add(parser: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> int:
    import gpudl

    say(f"gpudl {gpudl.__version__}, Python {platform.python_version()}, {platform.platform()}")
    sections = {
        "devices": devices(),
        "compilers": compilers(),
        "CUDA": cuda(),
        "libraries": libraries(),
        "data": data(),
    }
    for title, lines in sections.items():
        print(f"\n{title}")
        for line in lines:
            text = f"  {line.name:<16} {'ok' if line.works else '--':<4} {line.detail}"
            print(wrapped(text, columns(sys.stdout), " " * 24))
    problems = mismatches(driver_cuda(), module_cuda(), cupy_cuda())
    for problem in problems:
        print(f"\ngpudl: error: {problem}")
    return USAGE if problems else 0


# -------------------------------------------------------------------- sections


def devices() -> Iterator[Line]:
    from gpudl.devices.find import why_missing

    yield Line("cpu", True, f"NumPy on {_processor()}, {os.cpu_count()} cores")
    for name in ("emulator", "cuda"):
        reason = why_missing(name)
        if reason:
            yield Line(name, False, _sentence(reason))
        else:
            yield Line(name, True, _module(name))


def _module(name: str) -> str:
    from gpudl.devices import modules

    module: Any = modules.load(name)
    with_nvcc = f", nvcc {module.nvcc} for {module.archs}" if module.nvcc else ""
    return f"{len(modules.launchers(name))} kernels, built with {module.compiler}{with_nvcc}"


def compilers() -> Iterator[Line]:
    cxx = os.environ.get("CXX", "c++")
    version = first_line(cxx, "--version")
    missing = "builds the emulator: apt-get install g++ python3-dev"
    yield Line("C++", bool(version), f"{version} ({shutil.which(cxx)})" if version else missing)
    nvcc = find_nvcc()
    release = re.search(r"release ([\d.]+)", output(nvcc, "--version")) if nvcc else None
    missing = "builds the CUDA kernels: install NVIDIA's CUDA toolkit, or put nvcc on PATH"
    yield Line("nvcc", release is not None, f"CUDA {release[1]} ({nvcc})" if release else missing)


def find_nvcc() -> str | None:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    return shutil.which("nvcc") or shutil.which("nvcc", path=str(Path(home) / "bin"))


def cuda() -> Iterator[Line]:
    version = driver_cuda()
    if version is None:
        yield Line("driver", False, "for NVIDIA GPUs: install NVIDIA's driver, 525 or newer")
    else:
        yield Line("driver", True, f"{_driver_number()}, supports CUDA {_dotted(version)}")
    listed = output("nvidia-smi", "-L").strip()
    gpus = [line for line in listed.splitlines() if line.startswith("GPU")]
    yield Line("GPUs", bool(gpus), "; ".join(_sentence(g) for g in gpus) or "none found")
    package = cupy_package()
    wanted = 12 if version is not None and version < (13, 0) else 13
    install = f"arrays on GPUs: pip install 'gpudl[cuda{wanted}]'"
    yield Line("CuPy", package is not None, " ".join(package) if package else install)


def libraries() -> Iterator[Line]:
    from gpudl.train import blas

    threads = blas.threads()
    library = blas.find()
    if library is None:
        yield Line("BLAS", True, f"{blas.describe()}; its number of threads cannot be set")
    else:
        yield Line("BLAS", True, f"{blas.describe()}, {threads} threads, {Path(library.path).name}")
    for name, install in PACKAGES.items():
        version = installed(name)
        yield Line(name, version is not None, version or install)


def data() -> Iterator[Line]:
    from gpudl.data import DataError, info, names

    folder = os.environ.get("GPUDL_DATA")
    exists = bool(folder) and Path(folder or "").is_dir()
    if exists:
        detail = str(folder)
    elif folder:
        detail = f"{folder} is not a folder; set GPUDL_DATA to one that exists"
    else:
        detail = "is not set; data sets are downloaded if needed (or set it to a folder with data)"
    yield Line("GPUDL_DATA", exists, detail)
    for name in names():
        source = info(name).source
        try:
            place = source.present() if source else "comes with gpudl"
        except DataError as error:
            yield Line(name, False, str(error))
            continue
        if place or installed("pooch"):
            yield Line(name, bool(place), str(place or "is downloaded when it is first used"))
        else:
            yield Line(name, False, f"is not here; {PACKAGES['pooch']}")


# -------------------------------------------------------------------- compatible versions


def mismatches(
    driver: tuple[int, int] | None, module: tuple[int, int] | None, cupy: int | None
) -> list[str]:
    """Incompatible versions, with the fix. driver, module: CUDA versions; cupy: CUDA's major
    version."""
    problems = []
    if driver:
        newest, have = _dotted(driver), driver[0]
        if module and module[0] > have:
            problems.append(
                f"gpudl's CUDA module was built with CUDA {module[0]}, but the driver supports "
                f"CUDA {newest}; {_update(module[0])}, or build with a CUDA {have} toolkit"
            )
        if cupy and cupy > have:
            problems.append(
                f"CuPy is for CUDA {cupy}, but the driver supports CUDA {newest}; {_update(cupy)}, "
                f"or pip uninstall cupy-cuda{cupy}x and pip install 'gpudl[cuda{have}]'"
            )
    if module and cupy and module[0] != cupy:
        problems.append(
            f"gpudl's CUDA module was built with CUDA {module[0]}, but CuPy with CUDA {cupy}; "
            f"pip uninstall cupy-cuda{cupy}x and pip install 'gpudl[cuda{module[0]}]'"
        )
    return problems


def _update(major: int) -> str:
    return f"update the driver to {LEAST_DRIVER.get(major, 'the newest')} or newer"


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA version that the driver supports; None without a driver."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def module_cuda() -> tuple[int, int] | None:
    """The CUDA version that the native module was built with; None without the module."""
    from gpudl.devices import modules

    if modules.why_missing("cuda"):
        return None
    match = re.match(r"(\d+)\.(\d+)", str(modules.load("cuda").nvcc))
    return (int(match[1]), int(match[2])) if match else None


def cupy_package() -> tuple[str, str] | None:
    """Name and version of the installed CuPy."""
    for name in ("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x", "cupy"):
        if version := installed(name):
            return name, version
    return None


def cupy_cuda() -> int | None:
    """The CUDA major version of the installed CuPy; None if its name does not contain one."""
    match = re.search(r"cuda(\d+)x", (cupy_package() or ("", ""))[0])
    return int(match[1]) if match else None


# -------------------------------------------------------------------- queries


def installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def output(*words: str) -> str:
    """The output of a program; empty if it does not run or fails."""
    try:
        result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout if result.returncode == 0 else ""


def first_line(*words: str) -> str:
    return (output(*words).splitlines() or [""])[0]


def _driver_number() -> str:
    number = first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return number or "version unknown"


def _processor() -> str:
    from gpudl.bench.facts import processor

    return processor()


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
