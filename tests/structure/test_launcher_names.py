"""A launcher is found by searching for its operator and its algorithm as whole words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpudl.devices import modules

CSRC = Path(__file__).resolve().parents[2] / "csrc"
MISSING = modules.why_missing("emulator")
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def test_the_line_that_exports_a_launcher_has_its_words():
    schema = modules.load("emulator").schema
    assert schema
    lines = {source: (CSRC / source).read_text(encoding="utf-8").splitlines()
             for source in {launcher["source"] for launcher in schema.values()}}  # fmt: skip
    lost = []
    for name, launcher in schema.items():
        op, direction, algorithm = (launcher[key] for key in ("op", "direction", "algorithm"))
        assert name == f"{op}_{direction}_{algorithm}"
        words = re.findall(r"\w+", lines[launcher["source"]][launcher["line"] - 1])
        if not {op, algorithm} <= set(words):
            lost.append(f"{name}: {launcher['source']}:{launcher['line']}")
    assert not lost
