"""Runs everything that needs an NVIDIA GPU; no network needed.

    python bench/gpu.py [--out FOLDER] [--stages build test ...] [--budget SECONDS] [-- PYTEST_ARGS]

Builds with the installed nvcc, CuPy, NumPy, pybind11 and pytest, then runs the tests on the device,
the error curves, the benchmarks (against PyTorch if it is installed), the machine-code check, and
compute-sanitizer on a quick part of the tests. If a stage fails or takes too long, the next one
still runs. The folder (default bench/results) receives one JSON file for the run, a log per stage,
and the results and plots of the benchmarks. The exit code is 0 if every stage passed.
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
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
# Suites that run in one process, and the group's share of the time for benchmarks.
BENCHES = {
    "bench-gemm": (("gemm",), 0.15),
    "bench-conv": (("conv",), 0.2),
    "bench-memory": (("pool", "norm", "activation", "softmax", "copy", "optimizer"), 0.3),
    "bench-models": (("step", "rbm", "recurrent"), 0.1),
    "bench-sustained": (("gemm",), 0.1),
}
START = 15.0  # seconds before the first row of a benchmark: imports, ceilings
GRACE = 20.0  # seconds between the interrupt at the limit and the kill
BUDGET = 400.0
# The most informative come first, because the machine may go away at any moment.
STAGES = ("build", "test", "curves", *BENCHES, "bench-kernels", "sass", *SANITIZERS)
MODULES = ("cupy", "numpy", "pybind11", "safetensors", "tqdm")
TEST_MODULES = ("hypothesis", "ml_dtypes", "pytest", "pytest_timeout")
QUICK_TESTS = ["-m", "cuda and not slow", "tests/ops"]


def missing() -> str | None:
    """What this machine lacks, in one sentence."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return (
            "nvidia-smi is missing: this machine has no NVIDIA driver; run this on one with a GPU."
        )
    gpus = subprocess.run([smi, "-L"], capture_output=True, text=True, check=False)
    if "GPU" not in gpus.stdout:
        return f"nvidia-smi lists no GPU ({(gpus.stdout + gpus.stderr).strip()})."
    return lacking(MODULES)


def lacking(modules: Sequence[str]) -> str | None:
    absent = [name for name in modules if find_spec(name) is None]
    if not absent:
        return None
    return (
        f"{sys.executable} lacks {', '.join(absent)}; install them, or name a Python that has "
        "them: make gpu PYTHON=/path/to/python3."
    )


def why_not(stage: str) -> str | None:
    """Why a stage cannot run here, None if it can."""
    if (stage == "test" or stage in SANITIZERS) and (reason := lacking(TEST_MODULES)):
        return reason
    if stage in SANITIZERS and find_sanitizer() is None:
        return "compute-sanitizer is not installed; it is part of the CUDA toolkit."
    return None


def find_sanitizer() -> str | None:
    folders = [os.environ.get("PATH", ""), *map(str, Path("/usr/local").glob("cuda*/bin"))]
    return shutil.which("compute-sanitizer", path=os.pathsep.join(folders))


def command(stage: str, out: Path, pytest_args: Sequence[str], budget: float = BUDGET) -> list[str]:
    """The command of a stage."""
    python = sys.executable
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if stage == "build":
        return [python, "cmake/build.py", "cuda"]
    if stage == "sass":
        return [python, "tests/sass/check.py"]
    if stage == "test":
        return [*pytest, "-m", "cuda", *pytest_args]
    if stage == "curves":
        files = ["--out", str(out / f"{today()}-cuda-errors.json"), "--plots", str(out / "plots")]
        return [python, "bench/error_curves.py", "--device", "cuda", *files]
    if stage.startswith("bench-"):
        return bench_command(stage, out, budget)
    options = ["--tool", stage, "--error-exitcode", "42", "--print-limit", "20"]
    pytest += ["-p", "bench.no_pool", "--timeout=0"]
    return [find_sanitizer() or "", *options, *pytest, *QUICK_TESTS, *pytest_args]


def bench_command(stage: str, out: Path, budget: float) -> list[str]:
    """`gpudl bench` for a group of suites, without those missing from this version."""
    known = {p.stem for p in (ROOT / "gpudl" / "bench" / "suites").glob("*.py")}
    suites, share = BENCHES.get(stage, (("kernels",), 0.15))
    suites = tuple(s for s in suites if s in known)
    each = max(5.0, (budget * share - START) / max(1, len(suites)))
    words = [sys.executable, "-m", "gpudl", "bench", *suites, "--device", "cuda", "--quick"]
    words += ["--budget", f"{each:.0f}", "--out", str(out / f"{today()}-cuda-{stage[6:]}.json")]
    if stage == "bench-sustained":
        return [*words, "--sustained", "2", "--only", r"square (4096|8192)"]
    return [*words, "--plots", str(out / "plots" / stage[6:])]


def limit_of(stage: str, limit: float, budget: float) -> float:
    """Seconds that a stage may take: benchmarks twice their budget and a minute."""
    if stage not in BENCHES:
        return limit
    return min(limit, 2 * budget * BENCHES[stage][1] + 60)


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def run(words: Sequence[str], log: Path, limit: float) -> int:
    """Runs a command, shows and logs its output, and returns its exit code; 124 at the limit."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    deadline = time.monotonic() + limit
    with log.open("w", encoding="utf-8") as file:
        try:
            process = subprocess.Popen(
                words,
                cwd=ROOT,
                env=env,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            print(f"{words[0]} cannot be run: {error}")
            return 126
        with log.open(encoding="utf-8", errors="replace") as shown:
            try:
                return watch(process, shown, deadline)
            finally:  # Ctrl-C too must leave no process on the GPU
                if process.poll() is None:
                    end(process)


def watch(process: subprocess.Popen[bytes], shown: Any, deadline: float) -> int:
    """Shows the output of the process until it ends, or until the deadline, which ends it."""
    while True:
        code = process.poll()
        sys.stdout.write(shown.read())
        sys.stdout.flush()
        if code is not None:
            return code
        if time.monotonic() > deadline:
            end(process)
            sys.stdout.write(shown.read())
            return 124
        time.sleep(0.2)


def end(process: subprocess.Popen[bytes]) -> None:
    """Interrupts the process, so that it can write its results; kills it if that does not help."""
    for number, patience in ((signal.SIGINT, GRACE), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            process.wait()
            return


def first_line(*words: str) -> str:
    """The first line of a command's output; empty if it does not run."""
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
    """The conditions of the measurements."""
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
    # Shells start background jobs with SIGINT ignored; stages would inherit that and need a kill.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument(
        "--stages",
        nargs="+",
        choices=(*STAGES, "bench"),
        default=list(STAGES),
        help="stages to run, in this order; bench: all groups of benchmarks",
    )
    parser.add_argument("--limit", type=float, default=1200, help="most seconds per stage")
    parser.add_argument(
        "--budget", type=float, default=BUDGET, help="seconds for all benchmarks together"
    )
    parser.add_argument("pytest_args", nargs="*", help="more arguments for pytest, after --")
    options = parser.parse_args()
    if problem := missing():
        print(f"gpudl: {problem}", file=sys.stderr)
        return 2
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"environment": environment(), "stages": []}
    name = f"gpu-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    for stage in expand(options.stages):
        print(f"\n=== {stage}", flush=True)
        start = time.monotonic()
        log = out / f"{name}-{stage}.log"
        if reason := why_not(stage):
            print(reason)
            log.write_text(reason + "\n", encoding="utf-8")
            code = 127
        else:
            words = command(stage, out, options.pytest_args, options.budget)
            code = run(words, log, limit_of(stage, options.limit, options.budget))
        result = {"stage": stage, "exit": code, "seconds": round(time.monotonic() - start, 1)}
        report["stages"].append({**result, "last_line": last_line(log)})
        (out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(summary(report["stages"]))
    print(f"written to {out / name}.json")
    return 1 if any(row["exit"] for row in report["stages"]) else 0


def expand(stages: Sequence[str]) -> list[str]:
    """The stages, with `bench` replaced by its groups."""
    names: list[str] = []
    for stage in stages:
        names += [*BENCHES, "bench-kernels"] if stage == "bench" else [stage]
    return list(dict.fromkeys(names))


def summary(rows: Sequence[dict[str, Any]]) -> str:
    meaning = {0: "ok", 124: "too long", 126: "not run", 127: "missing"}
    lines = [f"\n{'stage':16} {'result':>9} {'seconds':>8}"]
    for row in rows:
        result = meaning.get(row["exit"], f"exit {row['exit']}")
        lines.append(
            f"{row['stage']:16} {result:>9} {row['seconds']:8.1f}  {row['last_line'][:90]}"
        )
    return "\n".join(lines)


def last_line(log: Path) -> str:
    if not log.is_file():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
