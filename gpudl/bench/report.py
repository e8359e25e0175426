"""Writes results to a file and prints them as a table."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpudl.bench.facts import environment
from gpudl.bench.runner import Bench
from gpudl.bench.workload import Row
from gpudl.core.terminal import wrapped

SCHEMA = 3
# Exceptions of the functions below for a report with other entries or types.
MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
MOST_NAMED = 4  # most suites to list in a file name
# The columns of the table and how their cells are aligned; in a narrow terminal those in NARROW.
TABLE = {"workload": "<46", "direction": "<20", "dtype": "<16", "algorithm": "<12", "µs": ">11",
         "rate": ">12", "roof": ">5", "error": ">8", "peer µs": ">11", "peer's error": ">12",
         "peer/ours": ">9", "quartiles": ">11"}  # fmt: skip
NARROW = {"workload": "<24", "direction": "<20", "µs": ">11", "peer µs": ">11", "peer/ours": ">9"}
WIDE = 184  # columns of a terminal for the whole table


def report(bench: Bench, rows: list[Row], env: dict[str, Any] | None = None) -> dict[str, Any]:
    """The whole report of a run. env: the result of `environment` if known, since it is slow."""
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
    """JSON with one line per row, so that diffs are readable."""
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
    """`path` if it is a JSON file, else a new file in that folder named by date, device, suites."""
    if path.suffix == ".json":
        return path
    what = "-".join(suites) if len(suites) <= MOST_NAMED else "suites"
    stem, number = f"{time.strftime('%Y-%m-%d', time.gmtime())}-{device.replace(':', '')}-{what}", 2
    file = path / f"{stem}.json"
    while file.exists():
        file, number = path / f"{stem}-{number}.json", number + 1
    return file


def read(path: Path) -> dict[str, Any]:
    """A report. Raises ValueError if the file is not a report, or has an older schema."""
    try:
        from gpudl.core.files import read_json

        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(
            f"{path}: not written by this version of gpudl bench (schema {SCHEMA}); measure again"
        )
    return content


def shown(path: Path, as_markdown: bool = False, width: int | None = None) -> str:
    """A report as text. Raises ValueError, which names the file, if it is not a whole report."""
    content = read(path)
    try:
        return markdown(content) if as_markdown else text(content, width)
    except MALFORMED as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> ValueError:
    kind = "lacks " if isinstance(error, KeyError) else ""
    return ValueError(f"{path}: is a damaged report ({kind}{error}); measure again")


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs))


def summary(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Geometric means of peer/ours by suite, direction, dtype and precision, over the chosen
    algorithms."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if "ratio" in row and row.get("chosen", True):
            key = row["suite"], row["direction"], number_format(row)
            groups.setdefault(key, []).append(row["ratio"]["median"])
    entries = [
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
    all_ratios = [r for ratios in groups.values() for r in ratios]
    if len(groups) > 1:
        entries.append(
            {
                "suite": "all",
                "direction": "",
                "dtype": "",
                "rows": len(all_ratios),
                "faster": sum(r > 1 for r in all_ratios),
                "geometric_mean": round(geometric_mean(all_ratios), 3),
            }
        )
    return entries


def number_format(row: Row) -> str:
    """The dtype, for float32 with its precision."""
    dtype: str = row["dtype"]
    return f"{dtype} {row['precision']}" if "precision" in row and dtype == "float32" else dtype


def head(width: int | None = None) -> str:
    """The header of a table for a terminal of `width` columns; None: for a file."""
    return _aligned({name: name for name in TABLE}, width)


def line(row: Row, width: int | None = None) -> str:
    """One row of the table."""
    seconds, peer = row["seconds"], row.get("peer")
    error = row.get("error", {})
    quartiles = row.get("ratio")
    cells = {
        "workload": row["name"],
        "direction": row["direction"],
        "dtype": number_format(row),
        "algorithm": row.get("algorithm", "")[:12],
        "µs": f"{seconds['gpudl']['median'] * 1e6:,.1f}",
        "rate": speed(row),
        "roof": f"{row['roofline']:.0%}" if "roofline" in row else "",
        "error": small(error.get("gpudl")),
        "peer µs": f"{seconds[peer]['median'] * 1e6:,.1f}" if peer else "",
        "peer's error": small(error.get(peer)) if peer else "",
        "peer/ours": f"{quartiles['median']:.2f}" if quartiles else "",
        "quartiles": f"{quartiles['low']:.2f}–{quartiles['high']:.2f}" if quartiles else "",
    }
    return _aligned(cells, width)


def _aligned(cells: Mapping[str, str], width: int | None) -> str:
    table = TABLE if width is None or width >= WIDE else NARROW
    most = int(table["workload"][1:])
    name = cells["workload"]
    cells = {**cells, "workload": name if len(name) <= most else name[: most - 1] + "…"}
    return " ".join(f"{cells[column]:{align}}" for column, align in table.items()).rstrip()


def small(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def speed(row: Row) -> str:
    """TFLOP/s if arithmetic dominates, else GB/s; samples per second for a training step."""
    if "items_per_second" in row and "flops" not in row:
        return f"{row['items_per_second']:,.0f}/s"
    if "flops" not in row:
        return ""
    if row["flops"] > 16 * row["bytes"]:
        return f"{row['tflops']:.4g} TF/s"
    return f"{row['gbytes_per_second']:.4g} GB/s"


def summary_text(entries: Iterable[dict[str, Any]]) -> str:
    lines = []
    for entry in entries:
        what = " ".join(filter(None, (entry["suite"], entry["direction"], entry["dtype"])))
        lines.append(
            f"{what:<48} {entry['geometric_mean']:6.2f}  "
            f"(faster in {entry['faster']} of {entry['rows']})"
        )
    return "\n".join(lines)


def text(content: Mapping[str, Any], width: int | None = None) -> str:
    """The whole report, as printed during the measurement in a terminal of `width` columns."""
    env = content["environment"]
    parts = [
        wrapped(
            f"{env['hardware']}, {env['device']}, {threads(content)}, "
            f"{env['date'][:16]}, load {env.get('load')} before",
            width,
        ),
        head(width),
        *(line(row, width) for row in content["rows"]),
        "",
        "peer/ours, geometric means",
        summary_text(content["summary"]),
    ]
    return "\n".join(parts)


def threads(content: Mapping[str, Any]) -> str:
    count = content["settings"]["threads"]
    return f"{count} thread" if count == 1 else f"{count} threads"


def markdown(content: Mapping[str, Any]) -> str:
    """A Markdown table of each suite's geometric mean over all directions, best and worst row."""
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
