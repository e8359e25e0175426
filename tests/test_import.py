"""What `import gpudl` costs over `import numpy`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def processor_seconds(code: str, folder: Path) -> float:
    """Of a fresh interpreter; wall time would measure what else the machine does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its bytecode
    program = f"{code}\nimport resource\nprint(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_importing_costs_at_most_50_ms_over_numpy(tmp_path):
    processor_seconds("import gpudl", tmp_path)  # writes the bytecode
    pairs = [
        [processor_seconds(f"import {name}", tmp_path) for name in ("numpy", "gpudl")]
        for _ in range(12)
    ]
    numpy, gpudl = (min(times) for times in zip(*pairs, strict=True))
    assert gpudl - numpy <= 0.050


def test_importing_loads_nothing_heavy():
    heavy = ("matplotlib", "sklearn", "tqdm", "PIL", "torch", "cupy", "safetensors", "gpudl._cuda")
    code = f"import sys, gpudl; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
