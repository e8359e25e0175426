"""Measure a training step and each operator, beside PyTorch's where it is installed.

Medians of measurements in turns (ours, theirs, ours, …), with the same number of threads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gpudl.cli.arguments import add_device, choose_device, positive
from gpudl.cli.table import table

SUITES = ("step", "kernels")


def add(parser: argparse.ArgumentParser) -> None:
    add_device(parser)
    parser.add_argument("--suite", choices=SUITES, help="what to measure (default: both)")
    parser.add_argument(
        "--only", metavar="NAME", help="of the kernels, those with NAME in their name"
    )
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="(default: 1)")
    parser.add_argument(
        "--out", metavar="FILE.json|DIR", help="write the results there, with versions and date"
    )


def run(options: argparse.Namespace) -> int:
    from gpudl.bench import bench_kernels, bench_steps, environment
    from gpudl.train import blas

    device = choose_device(options.device)
    threads = options.threads
    report: dict[str, Any] = {}
    if options.suite in (None, "step") and options.only is None:
        report["steps"] = bench_steps(device, threads)
        print(_steps(report["steps"]))
    if options.suite in (None, "kernels"):
        if report:
            print()
        rows = bench_kernels(device, threads, only=options.only)
        report["kernels"] = list(_shown(rows))
    blas.set_threads(threads)
    report = {"environment": environment(device), **report}
    if options.out:
        print(f"wrote {_write(Path(options.out), device, report)}")
    return 0


def _steps(rows: list[dict[str, Any]]) -> str:
    head = ("training step", "batch", "threads", "ms", "images/s", "PyTorch ms", "ours/PyTorch")
    lines = []
    for row in rows:
        torch = row["seconds"].get("torch")
        lines.append(
            (
                row["model"],
                str(row["batch"]),
                str(row["threads"]),
                f"{row['seconds']['gpudl']['median'] * 1e3:.2f}",
                f"{row['images_per_second']:,.0f}",
                f"{torch['median'] * 1e3:.2f}" if torch else "",
                f"{row['times_torch']:.2f}" if torch else "",
            )
        )
    return table(head, lines, right=range(1, 7))


KERNEL_HEAD = ("operator, case", "µs", "GFLOP/s", "GB/s", "both ways µs", "ours/PyTorch")
KERNEL_LINE = "{:<44}  {:>10}  {:>8}  {:>8}  {:>12}  {:>12}"


def _shown(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows, each printed when it is there: all of them take minutes."""
    print(KERNEL_LINE.format(*KERNEL_HEAD))
    for row in rows:
        seconds = row["seconds"]
        both = seconds.get("gpudl forward and backward")
        line = KERNEL_LINE.format(
            f"{row['operator']}, {row['case']}"[:44],
            f"{seconds['gpudl forward']['median'] * 1e6:,.1f}",
            f"{row['gflops']:.2f}",
            f"{row['gbytes_per_second']:.2f}",
            f"{both['median'] * 1e6:,.1f}" if both else "",
            f"{row['times_torch']:.2f}" if "times_torch" in row else "",
        )
        print(line.rstrip(), flush=True)
        yield row


def _write(path: Path, device: str, report: dict[str, Any]) -> Path:
    from gpudl.files import write_text

    if path.suffix != ".json":
        date = report["environment"]["date"][:19].replace(":", "").replace("-", "")
        path = path / f"bench-{device.replace(':', '')}-{date}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(report, indent=1) + "\n")
    return path
