"""What a terminal of a certain width shows: tables fit, long sentences are wrapped at spaces."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpudl.cli.table import table
from gpudl.core import terminal
from gpudl.train.epochs import COLUMNS, Row, header, line

ROOT = Path(__file__).resolve().parents[2]
pty = pytest.importorskip("pty")


def shown(words: list[str], width: int, folder: Path) -> list[str]:
    """The lines that a command shows in a terminal, without what was drawn over."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "GPUDL_DATA")}
    process = subprocess.Popen(
        [sys.executable, "-m", "gpudl", *words],
        cwd=folder,
        env={**env, "PYTHONPATH": str(ROOT)},
        stdout=theirs,
        stderr=subprocess.STDOUT,
    )
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(ours)
    assert process.wait() == 0, text.decode()
    return [row.rpartition("\r")[2] for row in text.decode().replace("\r\n", "\n").split("\n")]


MEASURED = ROOT / "bench/results/2026-12-01-cpu-step-1-thread.json"
HELP = [f"{command} --help" for command in ("train", "bench", "predict")]
LISTS = ["models", "models --recipes", "doctor", "zoo"]


@pytest.mark.parametrize(
    ("words", "width"),
    [*((w, 80) for w in (*LISTS, *HELP, f"bench show {MEASURED}")), *((w, 50) for w in LISTS)],
)
def test_lists_reports_and_help_fit_the_terminal(gpudl, monkeypatch, words, width):
    """In this process, with a standard output that says it is a terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)
    size = os.terminal_size((width, 24))
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: size)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1)
    lines = gpudl(*words.split()).out.splitlines()
    assert len(lines) > 8
    assert max(map(len, lines)) <= width


@pytest.mark.slow
def test_a_training_run_fits_the_terminal_and_ends_with_what_to_do_next(tmp_path, blocks):
    words = ["train", "mlp", "--data", str(blocks), "--epochs", "10", "--out", "run"]
    lines = [text for text in shown(words, 80, tmp_path) if text]
    assert max(map(len, lines)) <= 80
    heads = [text for text in lines if text.startswith("epoch")]
    assert "test accuracy" in heads[0]
    assert heads[0].endswith("seconds")
    written = " ".join(lines)
    for name in ("curves.png", "confusion.png", "history.csv", "model.safetensors"):
        assert name in written
        assert (tmp_path / "run" / name).exists()
    assert lines[-1] == "next: gpudl evaluate run"


def test_the_table_of_epochs_leaves_out_what_does_not_fit():
    row = Row(100, 1, 12.5, 0.5, 2.25, 0.75, 1e-3, 123_456.0, 1.5)
    for width in (None, 80, 60, 30, 10):
        head, cells = header(COLUMNS, 100, width=width), line(row, 100, width=width)
        assert len(head) == len(cells)
        assert len(head) <= max(width or 1000, 16)
        assert head.split()[:2] == ["epoch", "loss"]
        assert cells.split()[:2] == ["100/100", "12.5000"]
    assert "test accuracy" in header(COLUMNS, 30, width=60)
    assert header(COLUMNS, 30, width=80) == header(COLUMNS, 30)


def test_a_table_leaves_out_columns_that_are_not_needed_and_wraps_the_widest_text(monkeypatch):
    monkeypatch.setattr("gpudl.cli.table.columns", lambda stream: 40)
    rows = [("a", "1", "many words " * 6, "more"), ("b", "22", "", "less")]
    text = table(("name", "n", "description", "more"), rows, right=(1,), needed=3)
    assert "more" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 40
    assert sum(text.count("many") for text in lines) == 6
    assert lines[-1].split() == ["b", "22"]


def test_files_and_pipes_are_not_wrapped(tmp_path, capsys):
    with (tmp_path / "a").open("w") as file:
        assert terminal.columns(file) is None
    terminal.say("word " * 60)
    assert capsys.readouterr().out.count("\n") == 1
    assert terminal.wrapped("word " * 5, 14, "  ").splitlines() == ["word word word", "  word word"]


def test_gpudl_alone_shows_the_help(gpudl):
    result = gpudl()
    assert result.code == 0
    assert "train" in result.out


def test_predict_takes_a_folder(gpudl, trained, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    for name in ("in/b/two.png", "in/one.png", "in/.hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "in/notes.txt").write_text("no image")
    result = gpudl("predict", trained, "in", "--as-is", "--out", "out")
    assert result.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.png", "two.png"]
    assert [text.split()[0] for text in result.out.splitlines() if text.startswith("in/")] == [
        "in/b/two.png",
        "in/one.png",
    ]
    (tmp_path / "empty").mkdir()
    result = gpudl("predict", trained, "empty")
    assert result.code == 2
    assert "empty: has no images" in result.err


def test_images_of_several_sizes_are_said_to_be_stretched(gpudl, tmp_path):
    for number in range(12):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30 + number, 20), (20 * number, 0, 0)).save(folder / f"{number}.png")
    result = gpudl("train", "mlp", "--data", "photos", "--epochs", 1)
    assert result.code == 0, result.err
    assert "each is stretched to" in result.out


def test_line_breaks_in_names_do_not_break_a_table():
    assert table(("name",), [("a\nb\tc",)]).splitlines() == ["name", "-------", r"a\nb\tc"]
