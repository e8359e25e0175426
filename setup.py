"""Chooses the native modules to build; everything else about the package is in pyproject.toml."""

import os
import platform
import re
import shutil
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "cmake"))

import toolchain  # noqa: E402


def native_options() -> dict[str, object]:
    """Arguments that make setup() run CMake; empty if there is nothing to compile."""
    if platform.system() != "Linux" or not {"bdist_wheel", "editable_wheel", "build"} & set(
        sys.argv
    ):
        return {}
    try:
        plan = toolchain.plan()
    except toolchain.ToolchainError as error:
        sys.exit(f"gpudl: {error}")
    for note in plan.notes:
        print(f"gpudl: {note}", file=sys.stderr)
    args = plan.cmake_args()
    if not args:
        return {}
    import pybind11

    os.environ.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    return {
        "cmake_source_dir": ".",
        "cmake_args": [*args, f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"],
    }


def description() -> str:
    """The README for a package index, which has no other files: links to files become their names,
    and pictures are left out."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n+", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)[^)]*\)", r"\1", text)


# A build folder of an earlier version would install files that have since been removed.
for stale in ROOT.glob("build/pip/lib*"):
    shutil.rmtree(stale)

setup(
    options={"build": {"build_base": "build/pip"}},
    long_description=description(),
    long_description_content_type="text/markdown",
    **native_options(),
)
