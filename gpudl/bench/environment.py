"""What a measurement has to be read with."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from gpudl.train import blas

PACKAGES = ("gpudl", "numpy", "ml_dtypes", "torch", "triton", "cupy-cuda12x", "cupy-cuda13x")
GPU_FACTS = ("name", "driver_version", "memory.total", "clocks.sm", "clocks.max.sm", "clocks.mem",
             "power.limit", "temperature.gpu", "clocks_throttle_reasons.active")  # fmt: skip


def environment(device: str, torch: Any = None) -> dict[str, Any]:
    """Device, processor, versions, threads, load and date. torch: the module if it was measured."""
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "device": device,
        "hardware": gpu_name(device) if device.startswith("cuda") else processor(),
        "cores": os.cpu_count(),
        "load": load(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "compiler": compiler(device),
        "blas": blas.describe(),
        "blas_threads": blas.threads(),
        "versions": {name: version for name in PACKAGES if (version := installed(name))},
    }
    if device.startswith("cuda"):
        found["gpu"] = gpu_facts(device)
    if torch is not None:
        found["torch"] = torch_facts(torch)
    return found


def installed(package: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def load() -> float | None:
    """Mean number of running processes over the last minute: above 0.1 on an idle machine, others
    were at work before the measurement."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
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
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def compiler(device: str) -> str:
    """What built the module that runs the kernels; "" on a CPU, where NumPy runs them."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        return ""
    from gpudl.devices import modules

    module: Any = modules.load(kind)
    return str(getattr(module, "compiler", ""))


def gpu_facts(device: str) -> dict[str, str]:
    """Clocks, power and temperature as nvidia-smi tells them; empty without it."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return {}
    index = device.partition(":")[2] or "0"
    together = query(smi, index, GPU_FACTS)
    if len(together) == len(GPU_FACTS):
        return dict(zip(GPU_FACTS, together, strict=True))
    # An old driver refuses the whole list for one word that it does not know.
    found = {}
    for fact in GPU_FACTS:
        if answer := query(smi, index, (fact,)):
            found[fact] = answer[0]
    return found


def query(smi: str, index: str, facts: Sequence[str]) -> list[str]:
    """nvidia-smi's answers, empty where it refuses."""
    command = [smi, f"--id={index}", f"--query-gpu={','.join(facts)}", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [word.strip() for word in result.stdout.strip().split(",")]


def torch_facts(torch: Any) -> dict[str, Any]:
    facts = {"threads": torch.get_num_threads(), "cuda": torch.version.cuda}
    if torch.version.cuda and torch.cuda.is_available():
        facts["cudnn"] = torch.backends.cudnn.version()
    return facts
