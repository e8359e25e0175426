"""The README: its program and commands run, and its numbers match committed measurements."""

import contextlib
import csv
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gpudl import models
from gpudl.bench import report
from gpudl.cli import main
from gpudl.cli.parser import build_parser
from gpudl.data import load
from gpudl.train.epochs import COLUMNS, Row, header, line

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
HISTORY = ROOT / "docs" / "images" / "lenet5-digits-history.csv"
FIGURE = re.compile(r"\d+\.\d+")
VERSIONS = re.compile(r"(Python |PyTorch |Apache-|CC BY )\d+\.\d+(\.\d+)?")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The commands for a reader to type, without trailing comments."""
    lines = re.findall(r"^    (gpudl .*)$", TEXT, re.MULTILINE)
    return [text.partition(" #")[0].strip() for text in lines]


def rows() -> list[list[str]]:
    """Cells of the tables, without heads and rules."""
    lines = [text for text in TEXT.splitlines() if text.startswith("| ")]
    return [[cell.strip() for cell in text.strip("|").split("|")] for text in lines]


def linked(text: str) -> list[Path]:
    return [ROOT / path for path in re.findall(r"\((\S+?\.json)\)", text)]


def plain(text: str) -> str:
    """The text without URLs and program versions."""
    return VERSIONS.sub("", re.sub(r"\]\(\S+\)", "]", text))


# -------------------------------------------------------------------- the first screen


def test_the_program_runs_as_printed():
    (program,) = blocks("python")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
    share = re.fullmatch(
        r"(\d+)% of 359 test digits are read correctly", out.getvalue().splitlines()[-1]
    )
    assert int(share[1]) >= 90


def test_the_printed_training_run_matches_the_committed_history():
    (shown,) = blocks("text")
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    title, head, epochs = lines[1], lines[3], lines[4:8]
    result = lines[8]
    train, test = load("digits")
    count = sum(p.numel() for p in models.lenet5().parameters())
    assert f"lenet5 ({count:,} parameters) on digits ({len(train):,} images)" in title
    with HISTORY.open(encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    assert head == header(COLUMNS, len(history))
    expected = [history_line(row, len(history)) for row in history]
    assert [text for text in epochs if text != "    …"] == [*expected[:2], expected[-1]]
    loss, accuracy = (float(history[-1][name]) for name in ("test_loss", "test_accuracy"))
    right = f"{round(accuracy * len(test))} of {len(test)}"
    assert result.startswith(f"test accuracy {accuracy:.4f} ({right}), loss {loss:.4f}")


def history_line(row: dict[str, str], epochs: int) -> str:
    """As printed during training."""
    return line(Row(**{name: json.loads(value) for name, value in row.items()}), epochs)


# -------------------------------------------------------------------- figures


def test_every_number_has_a_link_to_its_source():
    """There are none in prose; in a table the row links to a file."""
    prose = re.sub(r"^```.*?^```|^    .*?$|^\|.*?$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert FIGURE.findall(plain(prose)) == []
    with_figures = [row for row in rows() if FIGURE.search(plain(" ".join(row)))]
    assert len(with_figures) == 10
    assert [row for row in with_figures if not linked(row[-1])] == []
    assert all(path.is_file() for row in with_figures for path in linked(row[-1]))


def measured_rows() -> list[list[str]]:
    return [row for row in rows() if any("docs/zoo" in str(p) for p in linked(row[-1]))]


@pytest.mark.parametrize("row", measured_rows(), ids=lambda row: row[-1])
def test_a_result_matches_its_measurement(row):
    _, result, minutes, source = row
    (path,) = linked(source)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert f"docs/zoo/{path.stem}.md" in row[0]
    assert not record["quick"]
    assert all(check["holds"] for check in record["checks"])
    numbers = set(FIGURE.findall(" ".join(check["measured"] for check in record["checks"])))
    assert set(FIGURE.findall(result)) <= numbers
    assert FIGURE.search(result)
    assert minutes == f"{record['processor_seconds'] / 60:.1f}"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_speed_of_a_step_matches_its_measurements(threads):
    """The lowest and highest ratios of both sessions."""
    (row,) = (r for r in rows() if r[0] == str(threads))
    turns, alone = [], []
    for path in linked(row[-1]):
        content = report.read(path)
        assert content["settings"]["threads"] == threads
        assert content["environment"]["hardware"] in TEXT
        step = next(r for r in content["rows"] if r["name"] == "LeNet-5, batch 64")
        turns.append(step["ratio"]["median"])
        alone.append(step["sustained"]["torch"] / step["sustained"]["gpudl"])
    assert len(turns) == 2
    assert row[1:3] == [f"{min(r):.2f} to {max(r):.2f}" for r in (turns, alone)]


# -------------------------------------------------------------------- commands and links


@pytest.mark.parametrize("command", commands())
def test_a_command_is_understood(command):
    build_parser().parse_args(shlex.split(command)[1:])


def test_files_named_in_commands_exist():
    words = [word for command in commands() for word in shlex.split(command)]
    assert (ROOT / next(w for w in words if w.endswith(".png"))).is_file()


@pytest.mark.slow
def test_everything_works_in_a_fresh_clone():
    """Silences may be longer than a newcomer should see, because other checks run meanwhile."""
    script = [sys.executable, str(ROOT / "scripts" / "try_readme.py"), "--silence", "20"]
    done = subprocess.run(script, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": ok\n") > len(commands())


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    places = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [place for place in places if not (page.parent / place).exists()] == []


def test_the_doctor_runs(capsys):
    assert main(["doctor"]) == 0
    assert "devices" in capsys.readouterr().out
