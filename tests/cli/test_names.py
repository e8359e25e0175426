"""Commands quoted in help, errors, recipes and documents use names that exist."""

import re
from pathlib import Path

import pytest

from gpudl import models, zoo
from gpudl.train.recipe import recipe_names

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "gpudl").rglob("*.py"),
    *(ROOT / "gpudl").rglob("*.json"),
]
PLACEHOLDERS = {"NAME", "all"}


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("gpudl train ", models.names()),
        ("gpudl train --recipe ", recipe_names()),
        ("gpudl zoo ", zoo.names()),
    ],
)
def test_quoted_commands_use_existing_names(command, names):
    words = set()
    for file in FILES:
        words |= set(re.findall(rf"{command}([\w-]*\w)\b", file.read_text("utf-8")))
    quoted = {word for word in words if not word.startswith("-")} - PLACEHOLDERS
    assert quoted
    assert quoted <= set(names)
