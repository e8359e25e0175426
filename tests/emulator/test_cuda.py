"""The same cases compiled by nvcc, and run on a GPU if there is one.

On a GPU they check that the fragment layouts, swizzles and descriptors, which the emulator takes
from the PTX manual, match the hardware.
"""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import toolchain

from . import programs
from .test_primitives import PRIMITIVES

PLATFORM = sorted((programs.CSRC / "platform" / "cuda").glob("*.c*"))
CASES = sorted(programs.HERE.glob("*.cu"))


@cache
def nvcc() -> toolchain.Nvcc | None:
    try:
        return toolchain.find_nvcc(os.environ, toolchain.find_compiler(os.environ))
    except toolchain.ToolchainError:
        return None


def compile_object(source: Path, target: Path, archs: tuple[str, ...]) -> None:
    command = [
        nvcc().path,
        "-std=c++20",
        "-O3",
        "-x",
        "cu",
        "-Xcompiler=-Wall,-Wno-unknown-pragmas",
    ]
    command += ["-Werror=all-warnings", *toolchain.gencode(archs, ptx=False), f"-I{programs.CSRC}"]
    command += ["-c", str(source), "-o", str(target)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.skipif(nvcc() is None, reason="needs nvcc")
@pytest.mark.parametrize("source", [*PLATFORM, *CASES], ids=lambda path: path.name)
def test_compiles_for_cuda(source, tmp_path):
    compile_object(source, tmp_path / "case.o", ("80", "90a"))


@pytest.fixture(scope="module")
def gpu_program(tmp_path_factory) -> programs.Program:
    """All cases, built for the GPU that is present."""
    folder = tmp_path_factory.mktemp("gpu")
    sources = [*PLATFORM, *programs.HERE.glob("*_cases.cu"), programs.HERE / "main.cpp"]
    objects = [folder / f"{source.name}.o" for source in sources]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_object, sources, objects, [toolchain.present_archs()] * len(sources)))
    program = folder / "cases"
    subprocess.run([nvcc().path, *map(str, objects), "-o", str(program)], check=True)
    return programs.Program(program)


@pytest.mark.cuda
@pytest.mark.parametrize("case", PRIMITIVES)
def test_primitive_on_gpu(case, gpu_program):
    files = [programs.HERE / f"{name}_cases.cu" for name in ("hopper", "cluster", "gemm")]
    hopper = any(f"CASE({case})" in path.read_text() for path in files)
    if hopper and "90a" not in toolchain.present_archs():
        pytest.skip("needs a GPU of compute capability 9.0")
    assert gpu_program.run(case) == "ok"
