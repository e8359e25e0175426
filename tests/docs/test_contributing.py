"""CONTRIBUTING.md names files that exist, and its excerpts match the code."""

import re
from pathlib import Path

import pytest

from tests.structure.test_imports import LEVELS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def paths() -> list[str]:
    """Files and folders named in the text."""
    words = re.findall(r"`((?:gpudl|csrc|tests|bench|cmake|scripts|docs)/[\w./]+)`", TEXT)
    return sorted(set(words))


@pytest.mark.parametrize("path", paths())
def test_a_named_file_exists(path):
    assert (ROOT / path).exists()


def test_the_levels_are_those_of_the_import_graph():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", TEXT.partition("| Python")[2], re.MULTILINE)
    python, cpp = rows[:-4], rows[-4:]
    names = [set(re.findall(r"\w+", row)) for row in python]
    inside = [set(level) for level in LEVELS if level not in (("__main__",), ("gpudl",))]
    assert names == inside
    assert cpp == ["`ops`", "`prim`", "`core`", "`platform`"]


def excerpts() -> list[tuple[str, str]]:
    """Code blocks, each with the last file named before it."""
    found, last = [], ""
    for part in re.split(r"(```(?:python|cpp)\n.*?```)", TEXT, flags=re.DOTALL):
        if part.startswith("```"):
            found.append((last, part.partition("\n")[2].removesuffix("```")))
        elif named := re.findall(r"`((?:gpudl|csrc)/[\w./]+\.\w+)`", part):
            last = named[-1]
    return found


@pytest.mark.parametrize(("path", "code"), excerpts(), ids=lambda text: text.partition("\n")[0])
def test_an_excerpt_matches_the_code(path, code):
    """Line by line, in order."""
    lines = iter((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert [line for line in code.splitlines() if line and line not in lines] == []


def test_the_six_files_to_read_first():
    numbered = TEXT.partition("Read these six files first")[2].partition("\n\nImports")[0]
    assert len(re.findall(r"^\d\. `[\w./]+`", numbered, re.MULTILINE)) == 6
