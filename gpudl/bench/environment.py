"""What a measurement has to be read with."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from gpudl.train import blas

PACKAGES = ("gpudl", "numpy", "torch", "cupy-cuda12x", "cupy-cuda13x")


def environment(device: str) -> dict[str, Any]:
    """Device, processor, versions, threads and date."""
    found = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}
    return {
        **found,
        "device": device,
        "hardware": gpu_name(device) if device.startswith("cuda") else processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "blas": blas.describe(),
        "blas_threads": blas.threads(),
        "versions": {name: version for name in PACKAGES if (version := installed(name))},
    }


def installed(package: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The name of the CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_name(device: str) -> str:
    import cupy

    index = int(device.partition(":")[2] or 0)
    return str(cupy.cuda.runtime.getDeviceProperties(index)["name"].decode())
