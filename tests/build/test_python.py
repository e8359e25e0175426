"""`make` finds a Python that fits, or says in one sentence what is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "python.sh"
OLD = 'case "$2" in *version_info*) exit 1;; esac'
WITHOUT_VENV = 'case "$2" in *ensurepip*) exit 1;; esac'
FITS = "exit 0"
SHIM = 'echo "pyenv: python3: command not found" >&2; exit 127'


@pytest.fixture
def find(tmp_path):
    """Runs the script where only the given programs are on PATH."""

    def run(asked: str = "", **programs: str) -> tuple[int, str]:
        for name, script in programs.items():
            path = tmp_path / name.replace("_", ".")
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        result = subprocess.run(
            [shutil.which("bash"), SCRIPT],
            env={"PATH": str(tmp_path), "PYTHON": asked},
            capture_output=True,
            text=True,
            check=False,
        )
        return result.returncode, (result.stdout + result.stderr).strip()

    return run


def test_the_first_that_is_new_enough(find):
    assert find(python3=OLD, python3_12=FITS, python3_11=FITS) == (0, "python3.12")


def test_a_shim_that_does_not_run_is_passed_over(find):
    assert find(python3=SHIM, python3_10=FITS) == (0, "python3.10")


def test_none(find):
    code, text = find(python3=OLD)
    assert code == 1
    assert text.startswith("gpudl: no Python 3.10 or newer found (tried: python3 python3.14")


def test_one_that_was_asked_for_and_is_missing(find):
    code, text = find("mypython", python3=FITS)
    assert code == 1
    assert "tried: mypython" in text


def test_no_virtual_environments(find):
    code, text = find(python3=WITHOUT_VENV)
    assert code == 1
    assert text.startswith("gpudl: python3 cannot make virtual environments; install")
