"""Comparison of reports, on synthetic files with known changes and noise."""

import copy
import json
import random

import pytest

from gpudl.bench import compare, measure, report
from gpudl.bench.timing import timing


def row(name, seconds, peer=None, spread=0.01, seed=0, **changes):
    rng = random.Random(f"{name}{seed}")
    noisy = lambda s: [s * (1 + rng.uniform(-spread, spread)) for _ in range(15)]  # noqa: E731
    times = {"gpudl": timing(noisy(seconds))}
    base = {"suite": "gemm", "name": name, "direction": "forward", "dtype": "float32"}
    base |= {"precision": "highest", "algorithm": "simt", "chosen": True}
    if peer is not None:
        times["torch"] = timing(noisy(peer))
    return {**base, **measure.results(times), **changes}


def content(*rows, device="cuda", hardware="NVIDIA H100", threads=1):
    return {
        "schema": report.SCHEMA,
        "environment": {"device": device, "hardware": hardware, "cores": 16},
        "settings": {"threads": threads},
        "rows": list(rows),
    }


def verdicts(before, after, by=None):
    return {c.key[1]: c.verdict for c in compare.changes(before, after, by)}


def test_changes_are_distinguished_from_noise():
    before = content(
        row("slow", 1.0), row("fast", 1.0), row("same", 1.0), row("wild", 1.0, spread=0.5)
    )
    after = content(
        row("slow", 1.1, seed=1), row("fast", 0.9, seed=1), row("same", 1.001, seed=1),
        row("wild", 1.1, spread=0.5, seed=1),
    )  # fmt: skip
    assert verdicts(before, after) == {"slow": "slower", "fast": "faster", "same": "", "wild": ""}


def test_changes_below_two_percent_are_never_reported():
    before, after = content(row("a", 1.0, spread=1e-6)), content(row("a", 1.015, spread=1e-6))
    assert verdicts(before, after) == {"a": ""}


def test_on_a_cpu_the_ratio_to_the_peer_counts():
    """The machine is half as fast today: both times doubled."""
    before = content(row("a", 1.0, peer=2.0), device="cpu")
    after = content(row("a", 2.0, peer=4.0, seed=1), device="cpu")
    assert verdicts(before, after) == {"a": ""}
    assert verdicts(before, after, "time") == {"a": "slower"}


def test_ratios_to_different_peers_are_not_compared():
    """Our time is unchanged; only the peer changed."""
    before = content(row("a", 1.0, peer=2.0), device="cpu")
    after = content(row("a", 1.0, peer=1.0, seed=1), device="cpu")
    assert verdicts(before, after) == {"a": "slower"}
    after["rows"][0]["peer"] = "torch compiled"
    assert verdicts(before, after) == {"a": ""}


def test_the_interval_holds_most_ratios_of_medians():
    """Two equal distributions: 95 % of 400 pairs of 15 turns, within the counting error."""
    rng = random.Random(1)
    draw = lambda: timing([rng.lognormvariate(0, 0.1) for _ in range(15)]).as_dict()  # noqa: E731
    held = 0
    for _ in range(400):
        _, low, high = compare.interval(draw(), draw())
        held += low <= 1 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_rows_are_matched_by_what_they_measure():
    asked = {"chosen": False, "algorithm": "mma"}
    before = content(row("a", 1.0), row("a", 2.0, **asked), row("gone", 1.0))
    after = content(row("a", 1.0, algorithm="wgmma"), row("a", 2.0, **asked), row("new", 1.0))
    changes = compare.changes(before, after)
    assert len(changes) == 2
    assert all(0.98 < c.factor < 1.02 for c in changes)
    gone, added = compare.missing(before, after)
    assert [k[1] for k in gone + added] == ["gone", "new"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hardware": "NVIDIA A100"}, "hardware is 'NVIDIA H100' and 'NVIDIA A100'"),
        ({"device": "cpu"}, "device is 'cuda' and 'cpu'"),
        ({"threads": 2}, "1 and 2 threads"),
    ],
)
def test_different_devices_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        compare.check_same_device(content(), content(**change))


@pytest.fixture
def files(tmp_path):
    """Two reports, the second 20 % slower in one row."""
    before = content(row("a", 1.0), row("b", 1.0))
    after = copy.deepcopy(before)
    after["rows"][0] = row("a", 1.2, seed=1)
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    for path, content_of in zip(paths, (before, after), strict=True):
        path.write_text(report.dumps(content_of))
    return paths


def test_the_command_line_compares(gpudl, files):
    result = gpudl("bench", "compare", *files)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("slower   1.")
    assert lines[0].endswith("gemm a forward float32 highest")
    assert lines[1].startswith("2 rows compared: 1 slower, 0 faster")
    assert gpudl("bench", "compare", *files, "--fail-above", 10).code == 1
    assert gpudl("bench", "compare", *files, "--fail-above", 30).code == 0
    assert gpudl("bench", "compare", *files[::-1], "--fail-above", 1).code == 0


def test_the_command_line_shows_a_report(gpudl, tmp_path):
    shown = content(
        row("a", 1.0, peer=2.0, ratio={"median": 2.0, "low": 1.9, "high": 2.1}),
        row("b", 1.0, peer=0.5, ratio={"median": 0.5, "low": 0.4, "high": 0.6}),
    )
    shown["environment"] |= {"date": "2026-01-02T03:04:05", "versions": {"torch": "2.13"}}
    shown["summary"] = report.summary(shown["rows"])
    path = tmp_path / "a.json"
    path.write_text(report.dumps(shown))
    lines = gpudl("bench", "show", path).out.splitlines()
    assert lines[0].startswith("NVIDIA H100, cuda, 1 thread, 2026-01-02T03:04")
    assert lines[2].split()[-2:] == ["2.00", "1.90–2.10"]
    assert lines[-1].split()[-6:] == ["1.00", "(faster", "in", "1", "of", "2)"]
    table = gpudl("bench", "show", path, "--markdown").out
    assert "| gemm | 2 | 1.00 | 1 | a: 2.00 | b: 0.50 |" in table
    assert "bench show: give a file" in gpudl("bench", "show").err


def test_the_command_line_refuses(gpudl, files, tmp_path):
    other = json.loads(files[1].read_text())
    other["environment"]["hardware"] = "NVIDIA A100"
    files[1].write_text(json.dumps(other))
    assert "--any-device" in gpudl("bench", "compare", *files).err
    assert gpudl("bench", "compare", *files, "--any-device").code == 0
    old = tmp_path / "old.json"
    old.write_text('{"steps": []}')
    assert f"schema {report.SCHEMA}" in gpudl("bench", "compare", old, files[0]).err
    assert "give two files" in gpudl("bench", "compare", old).err
    assert gpudl("bench", "compare", old, files[0]).code == 2


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows", 0, "seconds"), None),
        (("rows", 0, "seconds"), {"gpudl": {"median": 0}}),
        (("rows", 0, "name"), 3),
        (("rows",), 3),
        (("environment",), []),
        (("environment",), {}),
        (("settings",), {}),
    ],
)
def test_a_damaged_report_is_refused_by_name(gpudl, files, path, value):
    damaged = json.loads(files[0].read_text())
    place = damaged
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    files[0].write_text(json.dumps(damaged))
    for words in (["compare", *files], ["compare", *files[::-1]], ["show", files[0]]):
        result = gpudl("bench", *words)
        assert result.code == 2
        assert f"{files[0]}: is a damaged report" in result.err
