"""Only csrc/platform/ depends on the device, no definition runs vendor libraries on a GPU, and no
test returns early."""

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

DEVICE_MACROS = re.compile(r"CUDA|NVCC|GPUDL_EMULATOR|GPUDL_ASAN|GPUDL_RACE|SANITIZE|__x86|__aarch")


cpp_files = sorted(
    p for p in (ROOT / "csrc").rglob("*") if p.suffix in {".h", ".cuh", ".cpp", ".cu"}
)


def code_lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines without their `//` comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(number, re.sub(r"//.*", "", line)) for number, line in enumerate(lines, 1)]


above_platform = [p for p in cpp_files if p.relative_to(ROOT / "csrc").parts[0] != "platform"]


@pytest.mark.parametrize("path", above_platform, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_platform_depends_on_the_device(path):
    faults = []
    for number, line in code_lines(path):
        location = f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        condition = re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", line)
        if condition and DEVICE_MACROS.search(line):
            faults.append(f"device macro outside platform/: {location}")
        if re.search(r"\basm\b", line):
            faults.append(f"inline assembly outside platform/: {location}")
    assert not faults


PRODUCTS = {"matmul", "einsum", "tensordot", "dot", "inner", "outer", "vdot"}


def library_calls(function: FunctionType, seen: set[FunctionType]) -> set[str]:
    """Library products and atomic updates in a definition and in the functions it calls."""
    if function in seen:
        return set()
    seen.add(function)
    calls: set[str] = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            calls.add("@")
        elif isinstance(node, ast.Attribute):
            if node.attr in PRODUCTS:
                calls.add(node.attr)
            elif node.attr == "at" and isinstance(node.value, ast.Attribute):
                calls.add(f"{node.value.attr}.at")
        elif isinstance(node, ast.Name):
            called = function.__globals__.get(node.id)
            called = inspect.unwrap(called) if callable(called) else None
            if isinstance(called, FunctionType) and called.__module__.startswith("gpudl.ops"):
                calls |= library_calls(called, seen)
    return calls


@pytest.mark.parametrize(
    "op", [op for op in OPS.values() if not op.kernels], ids=lambda op: op.name
)
def test_definitions_that_run_on_gpus_use_no_library_products(op):
    """On CuPy they would be the vendor's GEMM, and atomics whose sums vary between runs."""
    for function in filter(None, (op.forward, op.backward)):
        calls = library_calls(function, set())
        assert not calls, f"{op.name}.{function.__name__} uses {', '.join(sorted(calls))}"


def own_statements(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of nested functions."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            yield node
            yield from own_statements(node)


def test_tests_do_not_return():
    """A test that returns early passes without asserting anything. Cases that do not apply must not
    be generated, or must be skipped with a reason."""
    faults = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for test in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                returns = (s for s in own_statements(test) if isinstance(s, ast.Return))
                faults += [f"{path.relative_to(ROOT)}:{s.lineno}: {test.name}" for s in returns]
    assert not faults
