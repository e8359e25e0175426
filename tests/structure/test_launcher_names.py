"""Searching for operator and algorithm as whole words finds the launcher."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpudl.devices import modules

CSRC = Path(__file__).resolve().parents[2] / "csrc"
MISSING = modules.why_missing("emulator")
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def test_the_export_line_contains_operator_and_algorithm():
    schema = modules.load("emulator").schema
    assert schema
    lines = {source: (CSRC / source).read_text(encoding="utf-8").splitlines()
             for source in {launcher["source"] for launcher in schema.values()}}  # fmt: skip
    missing = []
    for name, launcher in schema.items():
        op, direction, algorithm = (launcher[key] for key in ("op", "direction", "algorithm"))
        assert name == f"{op}_{direction}_{algorithm}"
        words = re.findall(r"\w+", lines[launcher["source"]][launcher["line"] - 1])
        if not {op, algorithm} <= set(words):
            missing.append(f"{name}: {launcher['source']}:{launcher['line']}")
    assert not missing
