"""Includes go downward only, only csrc/platform/ knows which device it is compiled for, no
definition runs a vendor's products on a GPU, and no test returns early."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import pytest

import gpudl  # noqa: F401 (registers all operators)
from gpudl.core.op import OPS

ROOT = Path(__file__).resolve().parents[2]

CPP_LAYERS = ["platform", "core", "prim", "ops"]

DEVICE_MACROS = re.compile(r"CUDA|NVCC|GPUDL_EMULATOR|GPUDL_ASAN|GPUDL_RACE|SANITIZE|__x86|__aarch")


cpp_files = sorted(
    p for p in (ROOT / "csrc").rglob("*") if p.suffix in {".h", ".cuh", ".cpp", ".cu"}
)


def code_lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines without their `//` comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(number, re.sub(r"//.*", "", line)) for number, line in enumerate(lines, 1)]


@pytest.mark.parametrize("path", cpp_files, ids=lambda p: str(p.relative_to(ROOT)))
def test_cpp_includes_go_downward(path):
    here = path.relative_to(ROOT / "csrc").parts[0]
    allowed = ["core"] if here == "binding.cpp" else CPP_LAYERS[: CPP_LAYERS.index(here) + 1]
    faults = []
    for include in re.findall(r'^\s*#\s*include "([^"]+)"', path.read_text("utf-8"), re.M):
        if not (ROOT / "csrc" / include).is_file():
            faults.append(f'"{include}" is not a path from csrc/')
        elif include.split("/")[0] not in allowed:
            faults.append(f"{here} may include {', '.join(allowed)}, not {include}")
        elif here != "platform" and re.match(r"platform/(cuda|emulator)/", include):
            faults.append(f"{include} is one device's; include platform/device.h")
    assert not faults


above_platform = [p for p in cpp_files if p.relative_to(ROOT / "csrc").parts[0] != "platform"]


@pytest.mark.parametrize("path", above_platform, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_platform_knows_the_device(path):
    faults = []
    for number, line in code_lines(path):
        where = f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        condition = re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", line)
        if condition and DEVICE_MACROS.search(line):
            faults.append(f"device macro outside platform/: {where}")
        if re.search(r"\basm\b", line):
            faults.append(f"inline assembly outside platform/: {where}")
    assert not faults


PRODUCTS = {"matmul", "einsum", "tensordot", "dot", "inner", "outer", "vdot"}


def library_calls(function: FunctionType, seen: set[FunctionType]) -> set[str]:
    """Vendor products and atomic updates in a definition and the gpudl functions it calls."""
    if function in seen:
        return set()
    seen.add(function)
    found: set[str] = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            found.add("@")
        elif isinstance(node, ast.Attribute):
            if node.attr in PRODUCTS:
                found.add(node.attr)
            elif node.attr == "at" and isinstance(node.value, ast.Attribute):
                found.add(f"{node.value.attr}.at")
        elif isinstance(node, ast.Name):
            called = function.__globals__.get(node.id)
            if isinstance(called, FunctionType) and called.__module__.startswith("gpudl.ops"):
                found |= library_calls(called, seen)
    return found


@pytest.mark.parametrize(
    "op", [op for op in OPS.values() if not op.kernels], ids=lambda op: op.name
)
def test_definitions_that_run_on_gpus_use_no_library_products(op):
    """On CuPy these are the vendor's GEMM, and atomics whose sums change from run to run."""
    for function in filter(None, (op.forward, op.backward)):
        found = library_calls(function, set())
        assert not found, f"{op.name}.{function.__name__} uses {', '.join(sorted(found))}"


def own_statements(function: ast.AST) -> Iterator[ast.AST]:
    """What stands in a function, without what stands in functions inside it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            yield node
            yield from own_statements(node)


def test_tests_do_not_return():
    """One that returns early passes without having asserted anything: what does not apply is not
    generated, or skipped with its reason."""
    faults = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for test in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                returns = (s for s in own_statements(test) if isinstance(s, ast.Return))
                faults += [f"{path.relative_to(ROOT)}:{s.lineno}: {test.name}" for s in returns]
    assert not faults
