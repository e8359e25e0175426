"""Every primitive of the platform against plain loops, under every schedule, in every build."""

import os
import re
import shutil

import pytest

from . import programs

CASE = re.compile(r"^CASE\((\w+)\)", re.M)
PRIMITIVES = [
    c for p in sorted(programs.HERE.glob("*_cases.cu")) for c in CASE.findall(p.read_text())
]
ENGINE = CASE.findall((programs.HERE / "engine_cases.cpp").read_text())

# The schedule of GPUDL_SCHEDULE, or by default in order and one priority schedule.
QUICK = [int(os.environ["GPUDL_SCHEDULE"])] if "GPUDL_SCHEDULE" in os.environ else [0, 2]
ALL = range(17)

pytestmark = pytest.mark.skipif(
    shutil.which(programs.compiler()) is None, reason="needs a C++ compiler"
)


@pytest.mark.parametrize("schedule", QUICK)
@pytest.mark.parametrize("case", PRIMITIVES)
def test_primitive(case, schedule):
    assert programs.build("plain").run(case, schedule) == "ok"


@pytest.mark.parametrize("case", ENGINE)
def test_engine(case):
    assert programs.build("plain").run(case) == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("case", PRIMITIVES)
def test_primitive_under_every_schedule(case):
    program = programs.build("plain")
    assert {program.run(case, schedule) for schedule in ALL} == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [0, 2])
@pytest.mark.parametrize("variant", ["race", "asan", "portable"])
@pytest.mark.parametrize("case", PRIMITIVES)
def test_primitive_in_other_builds(case, variant, schedule):
    assert programs.build(variant).run(case, schedule) == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("case", ENGINE)
def test_engine_on_portable_contexts(case):
    assert programs.build("portable").run(case) == "ok"
