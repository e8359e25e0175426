"""Runs the function of a page and writes what it made: Markdown, pictures, JSON."""

from __future__ import annotations

import inspect
import json
import time
from pathlib import Path
from typing import Any

from gpudl import random
from gpudl.bench.environment import processor
from gpudl.files import write_text
from gpudl.train import blas
from gpudl.zoo.page import Info, Page, info, names

INDEX = "README.md"


def write(
    name: str, out: Path | str, quick: bool = False, seed: int = 0, device: str = "cpu"
) -> dict[str, Any]:
    """Write a page into the folder `out`; what is known of the run, as kept in its JSON file.

    Raises TrainingError for an unknown page.
    """
    found, folder = info(name), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    blas.set_threads(1)  # the number of threads decides the last bits of products
    random.manual_seed(seed)
    page = Page(found, folder, quick, seed, device)
    wall, busy = time.perf_counter(), time.process_time()
    found.function(page)
    record = {
        "page": found.name,
        "title": found.title,
        "quick": quick,
        "seed": seed,
        "device": _describe(device),
        "data": page.data,
        "seconds": round(time.perf_counter() - wall, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "checks": [check._asdict() for check in page.checks],
    }
    write_text(folder / f"{found.name}.md", _markdown(found, page, record))
    write_text(folder / f"{found.name}.json", json.dumps(record, indent=1) + "\n")
    return record


def write_index(out: Path | str) -> None:
    """The list of all pages in a folder, with what each claims and measured."""
    lines = [
        "# The zoo",
        "",
        "What each system shows on real data. Each page is written by `make zoo-NAME`; its numbers",
        "and pictures come from the run that is named at its end.",
        "",
        "| page | shows | measured |",
        "| --- | --- | --- |",
    ]
    for file in sorted(Path(out).glob("*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        claims = "<br>".join(check["claim"] for check in record["checks"])
        measured = "<br>".join(_measured(check, record["quick"]) for check in record["checks"])
        lines.append(f"| [{record['title']}]({record['page']}.md) | {claims} | {measured} |")
    missing = [name for name in names() if not (Path(out) / f"{name}.json").exists()]
    if missing:
        lines += ["", f"Not run here yet: {', '.join(missing)}."]
    write_text(Path(out) / INDEX, "\n".join(lines) + "\n")


def _measured(check: dict[str, Any], quick: bool) -> str:
    """What the index says of a claim; one that does not hold is marked."""
    if quick:
        return f"{check['measured']} (a quick run: means nothing)"
    return str(check["measured"]) if check["holds"] else f"**does not hold**: {check['measured']}"


def _markdown(found: Info, page: Page, record: dict[str, Any]) -> str:
    intro = inspect.cleandoc(found.function.__doc__ or "")
    parts = [f"# {found.title}", intro, *page.parts]
    if page.checks:
        rows = [
            f"| {'yes' if check.holds else 'no'} | {check.claim} | {check.measured} |"
            for check in page.checks
        ]
        parts.append("\n".join(["| holds | claim | measured |", "| --- | --- | --- |", *rows]))
    data = ", ".join(
        f"{name} ({train:,} to learn from, {test:,} to judge by)"
        for name, (train, test) in page.data.items()
    )
    facts = [
        f"Written by `gpudl zoo {found.name}{' --quick' if page.quick else ''} --seed {page.seed}`",
        f"data: {data or 'none'}",
        f"device: {record['device']}",
        f"{record['processor_seconds']:,} s of one core",
    ]
    if page.quick:
        facts.append("a quick run on little data: its numbers mean nothing")
    return "\n\n".join([*parts, "---", "; ".join(facts) + "."]) + "\n"


def _describe(device: str) -> str:
    if device != "cpu":
        return device
    return f"cpu, {processor()}, NumPy's products with {blas.describe()}, 1 thread"
