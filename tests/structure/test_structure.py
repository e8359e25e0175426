"""Includes go downward only, only csrc/platform/ knows which device it is compiled for, and no
definition runs a vendor's products on a GPU."""

import ast
import inspect
import re
import textwrap
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
    includes = re.findall(r'^\s*#\s*include "([^"]+)"', path.read_text(encoding="utf-8"), re.M)
    for include in includes:
        layer = include.split("/")[0]
        assert (ROOT / "csrc" / include).is_file(), f'"{include}" is not a path from csrc/'
        if here == "binding.cpp":
            assert layer == "core", f"binding.cpp may include core/ only, not {include}"
        else:
            assert CPP_LAYERS.index(layer) <= CPP_LAYERS.index(here), f"{here}/ below {include}"
        if here != "platform":
            assert not re.match(r"platform/(cuda|emulator)/", include), (
                f"{include} is one device's; include platform/device.h"
            )


@pytest.mark.parametrize("path", cpp_files, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_platform_knows_the_device(path):
    if path.relative_to(ROOT / "csrc").parts[0] == "platform":
        return
    for number, line in code_lines(path):
        where = f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        if re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", line):
            assert not DEVICE_MACROS.search(line), f"device macro outside platform/: {where}"
        assert not re.search(r"\basm\b", line), f"inline assembly outside platform/: {where}"


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
