"""The committed results, and the pages that quote them."""

import json
from pathlib import Path

import pytest

from gpudl.bench import report

ROOT = Path(__file__).resolve().parents[2]
RESULTS = sorted((ROOT / "bench" / "results").glob("*.json"))
SUITES = [path for path in RESULTS if "rows" in json.loads(path.read_text(encoding="utf-8"))]
STEPS = [path for path in SUITES if "-cpu-step-" in path.name]
GUIDE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_committed_report_is_small_and_can_be_read(path):
    """Reports keep medians, quartiles and turns; samples are not committed."""
    content = report.read(path)
    assert '"samples"' not in path.read_text(encoding="utf-8")
    assert content["environment"]["hardware"]
    for row in content["rows"]:
        for numbers in [*row["seconds"].values(), *([row["ratio"]] if "ratio" in row else [])]:
            assert set(numbers) == {"median", "low", "high", "turns"}
    assert report.summary(content["rows"]) == content["summary"]


def test_the_guide_shows_the_suites_as_measured():
    quick = report.read(ROOT / "bench/results/2026-11-21-cpu-quick-1-thread.json")
    assert report.markdown(quick) in GUIDE


def step_table() -> str:
    """Training steps by number of threads and day: alternating and sustained."""
    reports = sorted(
        (report.read(path) for path in STEPS),
        key=lambda r: (r["settings"]["threads"], r["environment"]["date"]),
    )
    head, rule, cells = ["training step"], ["---"], {}
    for content in reports:
        day = content["environment"]["date"][:10]
        head += [f"{report.threads(content)}, {day}: turns", "sustained"]
        rule += ["---:"] * 2
        for row in content["rows"]:
            alone = row["sustained"]["torch"] / row["sustained"]["gpudl"]
            ratios = f"{row['ratio']['median']:.2f}", f"{alone:.2f}"
            cells.setdefault(row["name"], []).extend(ratios)
    rows = [head, rule, *([name, *ratios] for name, ratios in cells.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def test_the_guide_shows_the_steps_as_measured():
    assert step_table() in GUIDE
    slowest = max(
        row["seconds"][side]["median"] / row["sustained"][side]
        for path in STEPS
        for row in report.read(path)["rows"]
        for side in ("gpudl", "torch")
    )
    assert f"up to {slowest:.1f} times slower than sustained" in " ".join(GUIDE.split())
