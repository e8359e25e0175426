"""Results as a file and as a table."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpudl.bench.environment import environment
from gpudl.bench.runner import Bench
from gpudl.bench.workload import Row

SCHEMA = 3
MOST_NAMED = 4  # suites in the name of a file
HEAD = ("workload", "direction", "dtype", "algorithm", "µs", "rate", "roof", "error", "peer µs",
        "peer's error", "peer/ours", "quartiles")  # fmt: skip
LINE = "{:<46} {:<20} {:<16} {:<12} {:>11} {:>12} {:>5} {:>8} {:>11} {:>12} {:>9} {:>11}"


def report(bench: Bench, rows: list[Row], env: dict[str, Any] | None = None) -> dict[str, Any]:
    """All that is known of a run. env: what `environment` said before, for asking takes seconds."""
    return {
        "schema": SCHEMA,
        "environment": env or environment(bench.settings.device, bench.torch),
        "settings": asdict(bench.settings),
        "peer": bench.peer_settings,
        "ceilings": bench.ceilings.as_dict(),
        "summary": summary(rows),
        "rows": rows,
        "left_out": bench.left_out,
    }


def dumps(content: Mapping[str, Any]) -> str:
    """JSON with a line for each row, so that changes can be read."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            lines = ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in value)
            parts.append(f" {json.dumps(key)}: [\n{lines}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def write(path: Path, content: Mapping[str, Any]) -> None:
    from gpudl.core.files import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, dumps(content))


def destination(path: Path, device: str, suites: Sequence[str]) -> Path:
    """The file itself, or in a folder a name of date, device and suites that is not taken yet."""
    if path.suffix == ".json":
        return path
    what = "-".join(suites) if len(suites) <= MOST_NAMED else "suites"
    stem, number = f"{time.strftime('%Y-%m-%d', time.gmtime())}-{device.replace(':', '')}-{what}", 2
    found = path / f"{stem}.json"
    while found.exists():
        found, number = path / f"{stem}-{number}.json", number + 1
    return found


def read(path: Path) -> dict[str, Any]:
    """A report. ValueError for a file that is none, or of an older version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no JSON ({error})") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(
            f"{path}: not written by this version of gpudl bench (schema {SCHEMA}); measure again"
        )
    return content


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs))


def summary(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Geometric means of peer/ours, by suite, direction, dtype and precision; of the chosen
    algorithms only."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if "ratio" in row and row.get("chosen", True):
            key = row["suite"], row["direction"], number_format(row)
            groups.setdefault(key, []).append(row["ratio"]["median"])
    found = [
        {
            "suite": suite,
            "direction": direction,
            "dtype": dtype,
            "rows": len(ratios),
            "faster": sum(r > 1 for r in ratios),
            "geometric_mean": round(geometric_mean(ratios), 3),
        }
        for (suite, direction, dtype), ratios in groups.items()
    ]
    every = [r for ratios in groups.values() for r in ratios]
    if len(groups) > 1:
        found.append(
            {
                "suite": "all",
                "direction": "",
                "dtype": "",
                "rows": len(every),
                "faster": sum(r > 1 for r in every),
                "geometric_mean": round(geometric_mean(every), 3),
            }
        )
    return found


def number_format(row: Row) -> str:
    """float32 with its precision."""
    dtype: str = row["dtype"]
    return f"{dtype} {row['precision']}" if "precision" in row and dtype == "float32" else dtype


def head() -> str:
    return LINE.format(*HEAD)


def line(row: Row) -> str:
    """One row of the table."""
    seconds, peer = row["seconds"], row.get("peer")
    error = row.get("error", {})
    quartiles = row.get("ratio")
    return LINE.format(
        row["name"][:46],
        row["direction"],
        number_format(row),
        row.get("algorithm", "")[:12],
        f"{seconds['gpudl']['median'] * 1e6:,.1f}",
        speed(row),
        f"{row['roofline']:.0%}" if "roofline" in row else "",
        small(error.get("gpudl")),
        f"{seconds[peer]['median'] * 1e6:,.1f}" if peer else "",
        small(error.get(peer)) if peer else "",
        f"{quartiles['median']:.2f}" if quartiles else "",
        f"{quartiles['low']:.2f}–{quartiles['high']:.2f}" if quartiles else "",
    ).rstrip()


def small(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def speed(row: Row) -> str:
    """TFLOP/s where operations count most, else GB/s; samples a second of a step."""
    if "items_per_second" in row and "flops" not in row:
        return f"{row['items_per_second']:,.0f}/s"
    if "flops" not in row:
        return ""
    if row["flops"] > 16 * row["bytes"]:
        return f"{row['tflops']:.4g} TF/s"
    return f"{row['gbytes_per_second']:.4g} GB/s"


def summary_text(found: Iterable[dict[str, Any]]) -> str:
    lines = []
    for entry in found:
        what = " ".join(filter(None, (entry["suite"], entry["direction"], entry["dtype"])))
        lines.append(
            f"{what:<48} {entry['geometric_mean']:6.2f}  "
            f"(faster in {entry['faster']} of {entry['rows']})"
        )
    return "\n".join(lines)


def text(content: Mapping[str, Any]) -> str:
    """The whole report as it was printed when it was measured."""
    env = content["environment"]
    parts = [
        f"{env['hardware']}, {env['device']}, {threads(content)}, "
        f"{env['date'][:16]}, load {env.get('load')} before",
        head(),
        *(line(row) for row in content["rows"]),
        "",
        "peer/ours, geometric means",
        summary_text(content["summary"]),
    ]
    return "\n".join(parts)


def threads(content: Mapping[str, Any]) -> str:
    count = content["settings"]["threads"]
    return f"{count} thread" if count == 1 else f"{count} threads"


def markdown(content: Mapping[str, Any]) -> str:
    """Geometric means by suite, for a page: of all directions, and the best and the worst row."""
    env = content["environment"]
    lines = [
        "| suite | rows | peer/ours | faster in | best | worst |",
        "|---|---:|---:|---:|---|---|",
    ]
    by_suite: dict[str, list[Row]] = {}
    for row in content["rows"]:
        if "ratio" in row and row.get("chosen", True):
            by_suite.setdefault(row["suite"], []).append(row)
    for suite, rows in by_suite.items():
        ranked = sorted(rows, key=lambda r: -r["ratio"]["median"])
        ratios = [r["ratio"]["median"] for r in rows]
        lines.append(
            f"| {suite} | {len(rows)} | {geometric_mean(ratios):.2f} | "
            f"{sum(r > 1 for r in ratios)} | {_named(ranked[0])} | {_named(ranked[-1])} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in env["versions"].items())
    lines += ["", f"Measured {env['date'][:10]} on {env['hardware']} ({env['device']}, "
              f"{threads(content)}; {versions}). peer/ours above 1: gpudl is faster."]  # fmt: skip
    return "\n".join(lines)


def _named(row: Row) -> str:
    direction = "" if row["direction"] in ("forward", "step") else f" {row['direction']}"
    return f"{row['name']}{direction}: {row['ratio']['median']:.2f}"
