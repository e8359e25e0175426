"""Predictions by roofline and by operators for an H100, next to measurements on a GPU."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gpudl.core.launcher import Launcher

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "cmake")]

from bench.machine_rows import table  # noqa: E402

RESULTS = ROOT / "bench" / "results"
REACHED_FLOPS = 798 / 989.4  # of the data sheet: bfloat16 at 8192³ with the vendor's library
REACHED_BANDWIDTH = 3.0e12
SUITES = ("gemm", "conv", "pool", "norm", "softmax", "activation", "optimizer", "recurrent")
HEADLINES = {
    "gemm": ("square 1024", "square 4096", "square 8192", "LSTM input projection"),
    "conv": (
        "ResNet-50+ResNet-18+GoogLeNet 3x224 -> 7x7, 64/2, batch 256",
        "ResNet-50+ResNet-18 64x56 -> 3x3, 64, batch 256",
        "ResNet-50+ResNet-18 256x14 -> 3x3, 256, batch 256",
        "ResNet-50 1024x14 -> 1x1, 256, batch 256",
        "LeNet-5 1x28 -> 5x5, 6, batch 256",
    ),
    "pool": ("ResNet max 3x3/2, 64x112, batch 64",),
    "norm": ("batch norm training, add, ReLU, 256x56, batch 64", "layer norm 16384x1024"),
    "softmax": ("softmax 8192x4096", "cross-entropy 8192x4096"),
    "activation": ("relu",),
    "optimizer": ("Adam ResNet-50",),
}
Measurements = dict[tuple[str, ...], Any]


class Prediction(NamedTuple):
    """Seconds of one direction; `measured` is a row of results."""

    algorithm: str
    bound: str
    floor: float
    reachable: float
    predicted: float | None
    measured: Any


def every_table() -> Iterator[str]:
    """One table per suite."""
    for suite in SUITES:
        if text := prediction_table(suite, lambda name: "batch 32" not in name):
            yield f"\n### {suite}\n"
            yield text


def headlines() -> str:
    """One table of a few shapes."""
    measured = measurements()
    rows = [row for suite, names in HEADLINES.items() for row in suite_rows(suite, names, measured)]
    return titled(rows, measured)


def prediction_table(suite: str, wanted: Callable[[str], bool]) -> str:
    """The table of a suite; "" if no shape has a kernel."""
    measured = measurements()
    names = [work.name for work in workloads(suite) if wanted(work.name)]
    rows = list(suite_rows(suite, names, measured))
    return titled(rows, measured) if rows else ""


def titled(rows: list[list[str]], measured: Measurements) -> str:
    head = ["workload", "format", "kernel", "GFLOP", "MB", "bound by", "floor µs", "reachable µs",
            "predicted µs"]  # fmt: skip
    head += ["measured µs", "of the floor", "peer/ours"] if measured else []
    return table(head, [row[: len(head)] for row in rows], texts=3)


def workloads(suite: str) -> list[Any]:
    from gpudl.bench import suites
    from gpudl.bench.workload import Scale, Workload

    return [w for w in suites.workloads(suite, Scale("cuda", False)) if isinstance(w, Workload)]


def suite_rows(suite: str, names: Any, measured: Measurements) -> Iterator[list[str]]:
    works = {work.name: work for work in workloads(suite)}
    for name in names:
        for dtype in ("float32", "bfloat16"):
            if entries := list(predictions(suite, works[name], dtype, measured)):
                yield prediction_row(works[name], dtype, entries)


def prediction_row(work: Any, dtype: str, entries: list[Prediction]) -> list[str]:
    """A row in which each cell lists the numbers of all directions."""
    cost = work.cost("forward", dtype)
    rows = [e.measured for e in entries]
    seconds = [row["seconds"]["gpudl"]["median"] if row else None for row in rows]
    shares = [e.floor / s if s else None for e, s in zip(entries, seconds, strict=True)]
    ratios = [row["ratio"]["median"] if row and "ratio" in row else None for row in rows]
    return [
        work.name,
        f"{dtype} highest" if dtype == "float32" else dtype,
        " / ".join(dict.fromkeys(e.algorithm for e in entries)),
        number(cost.flops / 1e9),
        number(cost.bytes / 1e6),
        " / ".join(dict.fromkeys(e.bound for e in entries)),
        joined([e.floor for e in entries], microseconds),
        joined([e.reachable for e in entries], microseconds),
        joined([e.predicted for e in entries], microseconds),
        joined(seconds, microseconds),
        joined(shares, "{:.0%}".format),
        joined(ratios, "{:.2f}".format),
    ]


def joined(values: list[float | None], text: Callable[[float], str]) -> str:
    return " / ".join("–" if v is None else text(v) for v in values)


def microseconds(seconds: float) -> str:
    return number(seconds * 1e6)


def number(value: float) -> str:
    """Three significant digits; thousands without exponents."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def predictions(suite: str, work: Any, dtype: str, measured: Measurements) -> Iterator[Prediction]:
    from gpudl.core.machine import H100

    nominal = H100._replace(launch=0)
    reached = nominal._replace(
        flops={k: v * REACHED_FLOPS for k, v in H100.flops.items()}, bandwidth=REACHED_BANDWIDTH
    )
    for direction in work.directions:
        kernel = kernel_on_cuda(work, direction, dtype)
        if kernel is None:
            return
        cost = work.cost(direction, dtype)
        computes = kernel.computes
        floor = nominal.roofline(computes, cost.flops, cost.bytes)
        yield Prediction(
            kernel.algorithm,
            "memory" if cost.bytes / nominal.bandwidth >= floor else "arithmetic",
            floor,
            reached.roofline(computes, cost.flops, cost.bytes),
            predict(work, direction, kernel, dtype),
            measured.get((suite, work.name, direction, dtype, "highest", "")),
        )


def kernel_on_cuda(work: Any, direction: str, dtype: str) -> Launcher | None:
    """The kernel that an H100 would run; None if none accepts the inputs."""
    from gpudl.core.machine import H100
    from gpudl.devices.find import device

    op, specs = work.op, work.specs(dtype)
    emulator: Any = device("emulator")  # has the same kernels
    kind = direction.split()[0]
    known = emulator.kernels(op, kind)
    try:
        preferred = op.prefer(H100, "highest", known, *specs)
        return next((k for k in preferred if emulator.takes(op, k, specs)), None)
    except (TypeError, ValueError):
        return None


def predict(work: Any, direction: str, kernel: Launcher, dtype: str) -> float | None:
    """The prediction of the operator, with tiles and waves; None for a single gradient, because an
    operator predicts all its gradients together."""
    from gpudl.core.machine import H100

    if direction not in ("forward", "backward"):
        return None
    return float(work.op.predict(H100, kernel, *work.specs(dtype)))


def measurements() -> Measurements:
    """Rows of results from GPUs by their key; newer files replace older ones."""
    from gpudl.bench.compare import key

    rows: Measurements = {}
    for path in sorted(RESULTS.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if str(report["environment"].get("device", "")).startswith("cuda"):
            rows.update({key(row): row for row in report.get("rows", ())})
    return rows
