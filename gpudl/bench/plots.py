"""Plots of a report: a roofline per number format, and bars of peer/ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpudl.bench.report import number_format, threads

OURS, LOSS, GREY = "#0b6e4f", "#b3261e", "#777777"
MOST_BARS = 60


def draw(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes the plots that the report has data for and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dtype in dict.fromkeys(number_format(r) for r in report["rows"]):
        rows = [r for r in report["rows"] if number_format(r) == dtype]
        stem = f"{report['environment']['device'].replace(':', '')}-{dtype.replace(' ', '-')}"
        for kind, plot in (("roofline", roofline), ("ratios", ratios)):
            figure = plot(report, rows, dtype)
            if figure is not None:
                path = folder / f"{kind}-{stem}.png"
                figure.savefig(path, dpi=120)
                paths.append(path)
    return paths


def roofline(report: Mapping[str, Any], rows: list[dict[str, Any]], dtype: str) -> Any:
    """Operations per second over operations per byte, under the two ceilings of the same run
    (Williams, Waterman, Patterson 2009)."""
    points = [r for r in rows if r.get("flops") and r.get("bytes")]
    if not points:
        return None
    ceilings = report["ceilings"]
    copied = ceilings["gbytes_per_second"] / 1e3  # TFLOP/s at one operation a byte
    flops = ceilings["tflops"].get(dtype)
    figure, axes = _figure((9, 6))
    xs = [r["flops"] / r["bytes"] for r in points]
    low, high = min(xs) / 2, max(*xs, 4 * (flops or 0) / copied)
    grid = [low * (high / low) ** (i / 200) for i in range(201)]
    unit, scale = ("TFLOP/s", 1) if max(r["tflops"] for r in points) > 1 else ("GFLOP/s", 1000)
    roof = [scale * min(copied * x, flops or math.inf) for x in grid]
    axes.plot(grid, roof, color="black", lw=1.2)
    for suite, marker in zip(
        dict.fromkeys(r["suite"] for r in points), "osD^vP*Xph<>", strict=False
    ):
        mine = [r for r in points if r["suite"] == suite]
        axes.scatter(
            [r["flops"] / r["bytes"] for r in mine],
            [scale * r["tflops"] for r in mine],
            s=26,
            marker=marker,
            alpha=0.75,
            label=suite,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations per byte")
    axes.set_ylabel(unit)
    measured = f"copy {ceilings['gbytes_per_second']:,.0f} GB/s"
    if flops:
        measured += f", product {scale * flops:.3g} {unit}"
    _title(axes, report, f"Roofline, {dtype}: {measured} in the same run")
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(True, which="major", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    return figure


def ratios(report: Mapping[str, Any], rows: list[dict[str, Any]], dtype: str) -> Any:
    """Bars of peer/ours, best at the top, losses in another colour; whiskers are quartiles."""
    rows = sorted((r for r in rows if "ratio" in r), key=lambda r: r["ratio"]["median"])
    if not rows:
        return None
    left_out = 0
    if len(rows) > MOST_BARS:  # the middle ones say the least
        half = MOST_BARS // 2
        left_out, rows = len(rows) - 2 * half, rows[:half] + rows[-half:]
    figure, axes = _figure((10, 1.4 + 0.22 * len(rows)))
    values = [r["ratio"]["median"] for r in rows]
    spread = [
        [v - r["ratio"]["low"] for v, r in zip(values, rows, strict=True)],
        [r["ratio"]["high"] - v for v, r in zip(values, rows, strict=True)],
    ]
    colours = [OURS if v >= 1 else LOSS for v in values]
    places = range(len(rows))
    axes.barh(places, [v - 1 for v in values], left=1, color=colours, height=0.7)
    axes.errorbar(values, places, xerr=_positive(spread), fmt="none", ecolor=GREY, lw=0.8)
    axes.set_yticks(places, [_label(r) for r in rows], fontsize=7)
    for place, row in zip(places, rows, strict=True):
        _number(axes, place, row["ratio"])
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, *values) / 1.35, max(2.0, *values) * 1.35)
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
             if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]  # fmt: skip
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.axvline(1, color="black", lw=0.8)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("PyTorch's time / ours: above 1 gpudl is faster")
    cut = f" ({left_out} in the middle not shown)" if left_out else ""
    _title(axes, report, f"Time against PyTorch, {dtype}{cut}")
    return figure


def _number(axes: Any, place: int, ratio: Mapping[str, float]) -> None:
    """Prints the median beyond the whisker."""
    won = ratio["median"] >= 1
    at = (
        max(ratio["median"], ratio["high"]) * 1.03
        if won
        else min(ratio["median"], ratio["low"]) / 1.03
    )
    side = "left" if won else "right"
    axes.text(at, place, f"{ratio['median']:.2f}", ha=side, va="center", fontsize=7)


def _positive(spread: list[list[float]]) -> list[list[float]]:
    return [[max(0.0, v) for v in side] for side in spread]


def _label(row: Mapping[str, Any]) -> str:
    direction = "" if row["direction"] in ("forward", "step") else f", {row['direction']}"
    return f"{row['suite']}: {row['name']}{direction}"


def _figure(size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _title(axes: Any, report: Mapping[str, Any], text: str) -> None:
    env = report["environment"]
    used = f", {threads(report)}" if env["device"] == "cpu" else ""
    axes.set_title(f"{text}\n{env['hardware']}{used}, {env['date'][:10]}", fontsize=9)
