"""Builds one variant of the native modules for development, incrementally.

    python cmake/build.py emulator|cuda|asan|race

`emulator` and `cuda` put their module into gpudl/, the others into build/<variant>/; the path is
printed on standard output. GPUDL_ARCHS, CXX, CUDA_HOME and the like work as in `pip install`;
GPUDL_JOBS limits the number of parallel compilers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import toolchain

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = {  # what to build, GPUDL_SANITIZE
    "emulator": ("emulator", ""),
    "cuda": ("cuda", ""),
    "asan": ("emulator", "asan"),
    "race": ("emulator", "race"),
}


def tool(name: str) -> str | None:
    """A build program, on PATH or beside this Python."""
    folders = f"{os.environ.get('PATH', '')}{os.pathsep}{Path(sys.executable).parent}"
    return shutil.which(name, path=folders)


def interpreter() -> str:
    """One path for this Python: if the path changed between calls, everything would be rebuilt."""
    path = Path(sys.prefix, "bin", "python3")
    return str(path) if path.exists() else sys.executable


def configure(variant: str, folder: Path) -> list[str]:
    """CMake's command line for a variant."""
    module, sanitize = VARIANTS[variant]
    only = {"GPUDL_EMULATOR": "off", "GPUDL_CUDA": "off", f"GPUDL_{module.upper()}": "on"}
    args = toolchain.plan({**os.environ, **only}).cmake_args()
    try:
        import pybind11
    except ImportError:
        raise toolchain.ToolchainError(
            f"pybind11 is not installed for {sys.executable}; pip install pybind11."
        ) from None
    cmake = tool("cmake")
    if cmake is None:
        raise toolchain.ToolchainError("cmake is missing; run pip install cmake.")
    ninja = tool("ninja")
    generator = ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else ["-GUnix Makefiles"]
    target = folder if sanitize else ROOT / "gpudl"
    return [
        *(cmake, "-S", str(ROOT), "-B", str(folder), *generator, *args),
        f"-DPython_EXECUTABLE={interpreter()}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        f"-DGPUDL_SANITIZE={sanitize}",
        "-DGPUDL_LINEINFO=ON",
        f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target}",
    ]


def build(variant: str) -> Path:
    """Configures if the command changed, compiles, and returns the module's path."""
    folder = ROOT / "build" / variant
    module, sanitize = VARIANTS[variant]
    command = configure(variant, folder)
    stamp = folder / "configured.json"
    if not stamp.is_file() or json.loads(stamp.read_text(encoding="utf-8")) != command:
        shutil.rmtree(folder, ignore_errors=True)  # another Python or compiler: start over
        folder.mkdir(parents=True)
        subprocess.run(command, check=True, stdout=sys.stderr)
        stamp.write_text(json.dumps(command), encoding="utf-8")
    jobs = os.environ.get("GPUDL_JOBS") or str(os.cpu_count() or 1)
    compile_all = [command[0], "--build", str(folder), "--parallel", jobs]
    subprocess.run(compile_all, check=True, stdout=sys.stderr)
    home = folder if sanitize else ROOT / "gpudl"
    return home / f"_{module}{sysconfig.get_config_var('EXT_SUFFIX')}"


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in VARIANTS:
        sys.exit(__doc__)
    try:
        print(build(sys.argv[1]))
    except (toolchain.ToolchainError, subprocess.CalledProcessError) as problem:
        sys.exit(f"gpudl: {problem}")
