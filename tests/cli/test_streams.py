"""The command line with unusual streams: ASCII only, closed, full, or no longer read."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpudl.cli.output import Clean
from tests.cli.conftest import ROOT

TRAIN = ("train", "mlp", "--data", "digits", "--limit", "64", "--epochs", "3", "--out", "run")


def run(tmp_path, words, shell="", **environment):
    """Runs `gpudl words shell` and returns its exit code, stdout and stderr."""
    command = f"{sys.executable} -m gpudl {' '.join(words)} {shell}"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=variables, capture_output=True, timeout=100
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize("words", [["train", "--help"], ["models"], ["zoo", "--help"]])
def test_ascii_terminals_get_similar_characters(tmp_path, words):
    code, out, err = run(tmp_path, words, PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    assert out.isascii()


@pytest.mark.slow
@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path, shell):
    assert run(tmp_path, TRAIN, shell)[0] == 0
    assert (tmp_path / "run/model.safetensors").exists()


def test_a_full_disk_is_reported_in_one_sentence(tmp_path):
    code, _, err = run(tmp_path, ["models"], ">/dev/full")
    assert code == 2
    assert (
        err == "gpudl: error: No space left on device; free some space or write to another folder\n"
    )


@pytest.mark.slow
def test_a_run_whose_output_is_no_longer_read_says_how_to_resume(tmp_path):
    code, out, err = run(tmp_path, [*TRAIN, "--epochs", "40"], "| head -c 1; exit ${PIPESTATUS[0]}")
    assert (code, out) == (141, b"t")
    assert err.endswith("no longer read; continue with: gpudl train --resume run\n")
    assert run(tmp_path, ["train", "--resume", "run"])[0] == 0


def test_without_home_folder(gpudl, tmp_path, blocks, monkeypatch):
    def no_home(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(Path, "expanduser", no_home)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    refused = gpudl("train", "mlp", "--data", "~/mine.npz")
    assert refused.err == (
        "gpudl: error: ~/mine.npz: There is no home folder (write the path in full); "
        "check the path and its permissions\n"
    )


def test_a_start_that_was_killed_can_be_repeated(gpudl, tmp_path, blocks):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.config.0123456789abcdef.part.json").write_text("{")
    assert gpudl("train", "mlp", "--data", blocks, "--epochs", 1, "--out", "run").code == 0
    assert not list((tmp_path / "run").glob(".*"))


@pytest.mark.slow
def test_a_foreign_run_overwrites_nothing_through_its_links(gpudl, tmp_path, blocks):
    gpudl("train", "mlp", "--data", blocks, "--epochs", 1, "--out", "run")
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for name in ("model.safetensors", "history.csv", "curves.png", ".checkpoint.part.safetensors"):
        (tmp_path / "run" / name).unlink(missing_ok=True)
        (tmp_path / "run" / name).symlink_to(mine)
    assert gpudl("train", "--resume", "run").code == 0
    assert mine.read_text() == "mine"


@pytest.mark.slow
def test_weights_of_another_run_are_refused(gpudl, tmp_path, blocks):
    for name, seed in (("a", 0), ("b", 1)):
        gpudl("train", "mlp", "--data", blocks, "--epochs", 1, "--seed", seed, "--out", name)
    (tmp_path / "b/model.safetensors").replace(tmp_path / "a/model.safetensors")
    refused = gpudl("evaluate", "a")
    assert refused.code == 2
    assert "differs from the weights at the end of this training; restore" in refused.err
    (tmp_path / "a/checkpoint.safetensors").unlink()
    assert gpudl("evaluate", "a").code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["training"].update(epochs="3"), "epochs: '3', expected int"),
        (lambda c: c["training"].update(epochs=0), "--epochs: 0; give 1 or more"),
        (lambda c: c["data"].update(sizes=[1]), r"sizes: (1,), expected tuple[int, int]"),
        (lambda c: c.update(options=[]), "options: (), expected dict[str, Any]"),
        (lambda c: c.update(data=3), "data is not a table of names and values"),
        (lambda c: c.update(extra=1), "unknown entry 'extra'"),
    ],
)
def test_wrong_types_in_config_are_named(gpudl, tmp_path, trained, change, words):
    values = json.loads((trained / "config.json").read_text())
    change(values)
    (tmp_path / "r").mkdir()
    (tmp_path / "r/config.json").write_text(json.dumps(values))
    refused = gpudl("evaluate", "r")
    assert refused.code == 2
    assert words in refused.err
    assert "config.json" in refused.err


def test_control_characters_of_names_are_shown_as_text(gpudl, tmp_path):
    recipe = {"model": "mlp", "data": "", "options": {"a\x1b[2J\n": 1}}
    (tmp_path / "r.json").write_text(json.dumps(recipe))
    result = gpudl("train", "--recipe", "r.json", "--data", "digits")
    assert result.code == 2
    assert r"--option a\x1b[2J : mlp has no such option" in result.err
    result = gpudl("train", "mlp", "--data", "./a\x1b[2J\r\u202e.npz")
    assert r"a\x1b[2J\r\u202e.npz" in result.err.replace(" ", r"\r")


def test_a_progress_bar_may_return_to_the_beginning_of_its_line():
    stream = io.StringIO()
    print("\rstep 1\t\n\rstep\r2", file=Clean(stream))
    assert stream.getvalue() == "\rstep 1\t\n\\rstep\\r2\n"
