"""What helps, errors, recipes and documents tell a reader to type names what there is."""

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
def test_what_is_told_to_type_exists(command, names):
    found = set()
    for file in FILES:
        found |= set(re.findall(rf"{command}([\w-]*\w)\b", file.read_text("utf-8")))
    told = {name for name in found if not name.startswith("-")} - PLACEHOLDERS
    assert told
    assert told <= set(names)
