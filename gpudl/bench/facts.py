"""The conditions of a measurement: hardware, versions, load, date."""

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
    """Device, processor, versions, threads, load and date. torch: the module, if it is measured."""
    facts: dict[str, Any] = {
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
        facts["gpu"] = gpu_facts(device)
    if torch is not None:
        facts["torch"] = torch_facts(torch)
    return facts


def installed(package: str) -> str | None:
    """The version of a distribution, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def load() -> float | None:
    """Load average of the last minute. Above 0.1 before a measurement, the machine was not idle."""
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
    """The compiler of the module with the kernels; "" on the CPU, where NumPy runs everything."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        return ""
    from gpudl.devices import modules

    module: Any = modules.load(kind)
    return str(getattr(module, "compiler", ""))


def gpu_facts(device: str) -> dict[str, str]:
    """Clocks, power and temperature from nvidia-smi; empty without it."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return {}
    index = device.partition(":")[2] or "0"
    answers = query(smi, index, GPU_FACTS)
    if len(answers) == len(GPU_FACTS):
        return dict(zip(GPU_FACTS, answers, strict=True))
    # An old driver rejects the whole query if it does not know one field, so query each.
    facts = {}
    for fact in GPU_FACTS:
        if answer := query(smi, index, (fact,)):
            facts[fact] = answer[0]
    return facts


def query(smi: str, index: str, facts: Sequence[str]) -> list[str]:
    """nvidia-smi's answers; empty if it fails."""
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
