"""Runs everything that needs an NVIDIA GPU, on a machine without network.

    python bench/gpu.py [--out FOLDER] [--stages build test ...] [--limit SECONDS] [-- PYTEST'S]

Builds against the nvcc, CuPy, NumPy, pybind11 and pytest that are installed there, runs the tests
on the device, compute-sanitizer over a quick part of them, and the benchmarks. A stage that fails
does not stop the next one. The folder (default bench/results) gets one JSON file for the run and
one log for each stage; the benchmarks write theirs beside it. Exit code 0 if every stage passed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
STAGES = ("build", "sass", "test", *SANITIZERS, "bench")
MODULES = ("cupy", "hypothesis", "ml_dtypes", "numpy", "pybind11", "pytest", "pytest_timeout")
MODULES += ("safetensors", "tqdm")
QUICK_TESTS = ["-m", "cuda and not slow", "tests/ops"]


def missing() -> str | None:
    """What this machine lacks, in one sentence."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return "nvidia-smi is missing: this machine has no NVIDIA driver, and make gpu needs a GPU."
    gpus = subprocess.run([smi, "-L"], capture_output=True, text=True, check=False)
    if "GPU" not in gpus.stdout:
        return f"nvidia-smi lists no GPU ({(gpus.stdout + gpus.stderr).strip()})."
    modules = [name for name in MODULES if find_spec(name) is None]
    if modules:
        return (
            f"{sys.executable} lacks {', '.join(modules)}; install them, or name a Python that has "
            "them: make gpu PYTHON=/path/to/python3."
        )
    return None


def find_sanitizer() -> str | None:
    folders = [os.environ.get("PATH", ""), *map(str, Path("/usr/local").glob("cuda*/bin"))]
    return shutil.which("compute-sanitizer", path=os.pathsep.join(folders))


def command(stage: str, out: Path, pytest_args: Sequence[str]) -> list[str] | None:
    """The program of a stage; None if it is not installed."""
    python = sys.executable
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if stage == "build":
        return [python, "cmake/build.py", "cuda"]
    if stage == "sass":
        return [python, "tests/sass/check.py"]
    if stage == "test":
        return [*pytest, "-m", "cuda", *pytest_args]
    if stage == "bench":
        return [python, "-m", "gpudl", "bench", "--device", "cuda", "--out", str(out)]
    sanitizer = find_sanitizer()
    if sanitizer is None:
        return None
    options = ["--tool", stage, "--error-exitcode", "42", "--print-limit", "20"]
    pytest += ["-p", "bench.no_pool", "--timeout=0"]
    return [sanitizer, *options, *pytest, *QUICK_TESTS, *pytest_args]


def run(words: Sequence[str], log: Path, limit: float) -> int:
    """Runs a program, shows and logs what it prints; 124 if it took longer than the limit."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    deadline = time.monotonic() + limit
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            words, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        with log.open(encoding="utf-8", errors="replace") as shown:
            while True:
                code = process.poll()
                sys.stdout.write(shown.read())
                sys.stdout.flush()
                if code is not None:
                    return code
                if time.monotonic() > deadline:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    return 124
                time.sleep(0.2)


def first_line(*words: str) -> str:
    """The first line that a program prints, empty if it does not run."""
    try:
        result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (result.stdout.strip().splitlines() or [""])[0]


def version(*distributions: str) -> str:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def environment() -> dict[str, str]:
    """What a measurement has to be read with."""
    query = "--query-gpu=name,driver_version,memory.total,compute_cap"
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "gpu": first_line("nvidia-smi", query, "--format=csv,noheader"),
        "nvcc": first_line("sh", "-c", "nvcc --version | grep release"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "cupy": version("cupy-cuda13x", "cupy-cuda12x", "cupy"),
        "torch": version("torch"),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--limit", type=float, default=1200, help="seconds a stage may take")
    parser.add_argument("pytest_args", nargs="*", help="more arguments for pytest, after --")
    options = parser.parse_args()
    if problem := missing():
        print(f"gpudl: {problem}", file=sys.stderr)
        return 2
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    report = {"environment": environment(), "stages": []}
    name = f"gpu-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    for stage in options.stages:
        print(f"\n=== {stage}", flush=True)
        start = time.monotonic()
        words = command(stage, out, options.pytest_args)
        log = out / f"{name}-{stage}.log"
        code = run(words, log, options.limit) if words else 127
        if words is None:
            print("compute-sanitizer is not installed; it comes with CUDA's toolkit.")
        result = {"stage": stage, "exit": code, "seconds": round(time.monotonic() - start, 1)}
        report["stages"].append({**result, "last_line": last_line(log)})
        (out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\n{'stage':12} {'exit':>4} {'seconds':>8}")
    for row in report["stages"]:
        print(f"{row['stage']:12} {row['exit']:4} {row['seconds']:8.1f}  {row['last_line']}")
    print(f"written to {out / name}.json")
    return 1 if any(row["exit"] for row in report["stages"]) else 0


def last_line(log: Path) -> str:
    if not log.is_file():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
