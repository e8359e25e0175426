"""Includes in csrc only go down: ops/<family>, prim/gemm, prim, core, platform; families do not
include each other, and there are no include cycles."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

CSRC = Path(__file__).resolve().parents[2] / "csrc"
LEVELS = ("platform", "core", "prim", "prim/gemm", "ops")  # lowest first
FILES = sorted(
    str(p.relative_to(CSRC))
    for p in CSRC.rglob("*")
    if p.suffix in (".h", ".cuh", ".cpp", ".cu") and p.parent != CSRC
)
GRAPH = {
    file: re.findall(r'^\s*#\s*include "([^"]+)"', (CSRC / file).read_text("utf-8"), re.M)
    for file in FILES
}
EDGES = [(file, include) for file, includes in GRAPH.items() for include in includes]


def level(file: str) -> int:
    return max(i for i, folder in enumerate(LEVELS) if file.startswith(f"{folder}/"))


def family(file: str) -> str:
    """The family of a file in ops: "conv" for ops/conv/im2col.h."""
    return file.split("/")[1]


def test_includes_are_paths_from_csrc():
    assert EDGES
    assert not [edge for edge in EDGES if edge[1] not in GRAPH]


def test_includes_go_down():
    assert not [(file, include) for file, include in EDGES if level(include) > level(file)]


def test_families_do_not_include_each_other():
    within = [edge for edge in EDGES if level(edge[0]) == level(edge[1]) == LEVELS.index("ops")]
    assert within
    assert not [edge for edge in within if family(edge[0]) != family(edge[1])]


def test_there_are_no_include_cycles():
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        raise AssertionError(" includes ".join(error.args[1][::-1])) from None


def test_the_binding_includes_only_core():
    text = (CSRC / "binding.cpp").read_text("utf-8")
    assert {i.split("/")[0] for i in re.findall(r'#include "([^"]+)"', text)} == {"core"}


def test_above_the_platform_no_file_is_for_one_device():
    """platform/device.h includes the files of the device that is built."""
    ours = [edge for edge in EDGES if level(edge[0]) > 0]
    assert not [edge for edge in ours if re.match(r"platform/(cuda|emulator)/", edge[1])]
