"""Runs a page's function and writes the results: Markdown, pictures, JSON."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpudl.bench.facts import processor
from gpudl.core import random
from gpudl.core.files import read_json, write_text
from gpudl.train import blas
from gpudl.train.errors import TrainingError
from gpudl.zoo.page import Check, Info, Page
from gpudl.zoo.pages import info, names

INDEX = "README.md"


def write(
    name: str, out: Path | str, quick: bool = False, seed: int = 0, device: str = "cpu"
) -> dict[str, Any]:
    """Write a page to the folder `out`; returns the record of the run, as stored in its JSON file.

    Raises TrainingError for an unknown page, and if a package that it needs is not installed.
    """
    page_info, folder = info(name), Path(out)
    for package in page_info.needs:
        if find_spec(package) is None:
            raise TrainingError(
                f"zoo {page_info.name}: {package} is not installed; pip install 'gpudl[zoo]'"
            )
    with _new_folder(folder):
        return _write(page_info, folder, quick, seed, device)


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Creates the folder; after an error it is removed again if nothing was written to it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):  # not empty
                path.rmdir()
        raise


def _write(page_info: Info, folder: Path, quick: bool, seed: int, device: str) -> dict[str, Any]:
    blas.set_threads(1)  # the rounding of products depends on the number of threads
    random.manual_seed(seed)
    page = Page(page_info, folder, quick, seed, device)
    wall, busy = time.perf_counter(), time.process_time()
    page_info.function(page)
    record = {
        "page": page_info.name,
        "title": page_info.title,
        "quick": quick,
        "seed": seed,
        "device": _describe(device),
        "data": page.data,
        "seconds": round(time.perf_counter() - wall, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "published": [number._asdict() for number in page.published],
        "checks": [check._asdict() for check in page.checks],
    }
    write_text(folder / f"{page_info.name}.md", _markdown(page_info, page, record))
    write_text(folder / f"{page_info.name}.json", json.dumps(record, indent=1) + "\n")
    return record


def write_index(out: Path | str) -> None:
    """Write the index of all pages in a folder, with their claims and measurements."""
    claims, numbers = [], []
    for file in sorted(Path(out).glob("*.json")):
        record = read_json(file)
        link = f"[{record['title']}]({record['page']}.md)"
        claim = "<br>".join(check["claim"] for check in record["checks"])
        measured = "<br>".join(_measured(check, record["quick"]) for check in record["checks"])
        claims.append((link, claim, measured))
        for number in record.get("published", ()):
            ours = _marked(number["ours"], record["quick"])
            numbers.append((link, number["what"], number["paper"], ours, number["source"]))
    parts = [
        "# The zoo",
        "What each system achieves on real data. Each page is written by `make zoo-NAME`; its\n"
        "numbers and pictures come from the run named at its end.",
        _table(("page", "claim", "measured"), claims),
    ]
    if numbers:
        parts += [
            "## Compared with the papers",
            _table(("page", "", "published", "here", "source"), numbers),
        ]
    missing = [name for name in names() if not (Path(out) / f"{name}.json").exists()]
    if missing:
        parts.append(f"Not run here yet: {', '.join(missing)}.")
    write_text(Path(out) / INDEX, "\n\n".join(parts) + "\n")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _measured(check: dict[str, Any], quick: bool) -> str:
    """A claim's measurement for the index; claims that do not hold are marked."""
    if quick or check["holds"]:
        return _marked(check["measured"], quick)
    return f"**does not hold**: {check['measured']}"


def _marked(number: str, quick: bool) -> str:
    return f"{number} (quick run, not meaningful)" if quick else number


def _markdown(page_info: Info, page: Page, record: dict[str, Any]) -> str:
    intro = inspect.cleandoc(page_info.function.__doc__ or "")
    parts = [f"# {page_info.title}", intro, *page.parts]
    if page.published:
        parts.append(_table(("", "published", "here", "source"), page.published))
    if page.checks:
        rows = [(_verdict(check, page.quick), check.claim, check.measured) for check in page.checks]
        parts.append(_table(("holds", "claim", "measured"), rows))
    data = ", ".join(
        f"{name} ({train:,} for training, {test:,} for testing)"
        for name, (train, test) in page.data.items()
    )
    quick = " --quick" if page.quick else ""
    facts = [
        f"Written by `gpudl zoo {page_info.name}{quick} --seed {page.seed}`",
        f"data: {data or 'none'}",
        f"device: {record['device']}",
        f"{record['processor_seconds']:,} s on one core",
    ]
    if page.quick:
        facts.append("a quick run on little data: its numbers are not meaningful")
    return "\n\n".join([*parts, "---", "; ".join(facts) + "."]) + "\n"


def _verdict(check: Check, quick: bool) -> str:
    if quick:
        return "not judged"
    return "yes" if check.holds else "no"


def _describe(device: str) -> str:
    if device != "cpu":
        return device
    return f"cpu, {processor()}, matrix products by {blas.describe()}, 1 thread"
