"""Fixtures that run the command line, in this process or in a separate one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpudl.cli import main

ROOT = Path(__file__).resolve().parents[2]


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def gpudl(capsys, monkeypatch, tmp_path):
    """Runs a command in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUDL_DATA", raising=False)

    def run(*words) -> Result:
        code = main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def spawn(tmp_path):
    """Starts a command in a separate process, which is killed after the test if it still runs."""
    started = []

    def start(*words) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "gpudl", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def trained(blocks, tmp_path_factory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    assert main(["train", "mlp", "--data", str(blocks), "--epochs", "4", "--out", str(folder)]) == 0
    return folder
