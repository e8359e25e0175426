"""The committed type stubs match the operators."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_stubs_are_up_to_date():
    script = [sys.executable, str(ROOT / "scripts" / "stubs.py"), "--check"]
    result = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def test_no_stub_hides_its_modules_docstring_from_editors():
    for stub in (ROOT / "gpudl").rglob("*.pyi"):
        assert ast.get_docstring(ast.parse(stub.read_text(encoding="utf-8"))) is None, stub
