"""The committed type stubs match the operators."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_stubs_are_up_to_date():
    script = [sys.executable, str(ROOT / "scripts" / "stubs.py"), "--check"]
    result = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
