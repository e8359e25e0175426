"""`make` finds a suitable Python, or says in one sentence what is missing."""

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
    """Runs the script with only the given programs on PATH."""

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


def test_the_first_python_that_is_new_enough_is_chosen(find):
    assert find(python3=OLD, python3_12=FITS, python3_11=FITS) == (0, "python3.12")


def test_a_shim_that_does_not_run_is_skipped(find):
    assert find(python3=SHIM, python3_10=FITS) == (0, "python3.10")


def test_without_a_suitable_python_the_message_lists_those_tried(find):
    code, text = find(python3=OLD)
    assert code == 1
    assert text.startswith("gpudl: no Python 3.10 or newer found (tried: python3 python3.14")


def test_if_the_requested_python_is_missing_no_other_is_tried(find):
    code, text = find("mypython", python3=FITS)
    assert code == 1
    assert "tried: mypython" in text


def test_a_python_without_venv_is_refused(find):
    code, text = find(python3=WITHOUT_VENV)
    assert code == 1
    assert text.startswith("gpudl: python3 cannot create virtual environments; install")
