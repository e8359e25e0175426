"""Searching for operator and algorithm as whole words finds the launcher."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpudl.devices import modules

ROOT = Path(__file__).resolve().parents[2]
MISSING = modules.why_missing("emulator")
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def test_the_export_line_contains_operator_and_algorithm():
    launchers = modules.launchers("emulator")
    assert launchers
    lines = {file: (ROOT / file).read_text(encoding="utf-8").splitlines()
             for file in {launcher.file for launcher in launchers.values()}}  # fmt: skip
    missing = []
    for name, launcher in launchers.items():
        assert name == launcher.name
        words = re.findall(r"\w+", lines[launcher.file][launcher.line - 1])
        if not {launcher.op, launcher.algorithm} <= set(words):
            missing.append(f"{name}: {launcher.file}:{launcher.line}")
    assert not missing
