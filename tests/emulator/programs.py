"""Builds the C++ programs of these tests with the emulator, and runs their cases.

Object files are cached under build/ by a hash of their dependencies, so only the first run after a
change compiles.
"""

import hashlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent.parent / "csrc"
OBJECTS = HERE.parent.parent / "build" / "test-emulator"

COMMON = ["-std=c++20", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
COMMON += ["-Wno-unknown-pragmas", "-Wno-psabi", f"-I{CSRC}"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# Flags of kernels, emulator and linker. The race build instruments only the kernels.
VARIANTS = {
    "plain": (["-O1", "-g1"], ["-O1", "-g1"], []),
    "race": (["-O1", "-g1", "-fsanitize=thread"], ["-O1", "-g1"], []),
    "asan": (["-O1", "-g1", *SANITIZERS], ["-O1", "-g1", *SANITIZERS], SANITIZERS),
    "portable": (["-O1", "-g1"], ["-O1", "-g1", "-DGPUDL_PORTABLE_CONTEXT"], []),
}


@dataclass(frozen=True)
class Program:
    """A built program of named cases."""

    path: Path

    def run(self, case: str, schedule: int = 0) -> str:
        """Runs one case and returns its output: "ok", or the error."""
        env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD" and "SAN_OPTIONS" not in k}
        env |= {"GPUDL_SCHEDULE": str(schedule), "ASAN_OPTIONS": "detect_leaks=0"}
        result = subprocess.run(
            [self.path, case], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        return (result.stdout + result.stderr).strip()


def compiler() -> str:
    return os.environ.get("CXX", "c++")


def run_compiler(arguments: list[str]) -> None:
    env = {
        k: v for k, v in os.environ.items() if k != "LD_PRELOAD"
    }  # set for Python when it runs with a sanitizer
    result = subprocess.run(
        [compiler(), *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@cache
def dependencies() -> str:
    """A hash of the common dependencies: the compiler, the platform, the harness."""
    version = subprocess.run([compiler(), "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version)
    for path in [*sorted((CSRC / "platform").rglob("*")), HERE / "harness.h"]:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def object_file(text: str, flags: list[str]) -> Path:
    """The object file of C++ text, compiled unless cached."""
    key = hashlib.sha256("\0".join([dependencies(), text, *COMMON, *flags]).encode()).hexdigest()
    target = OBJECTS / f"{key[:24]}.o"
    if not target.exists():
        source = target.with_suffix(f".{os.getpid()}.cpp")
        source.write_text(text)
        part = source.with_suffix(".o")
        run_compiler([*COMMON, *flags, "-c", str(source), "-o", str(part)])
        part.rename(target)  # atomic, as several processes may build it
        source.unlink()
    return target


def emulator_text() -> str:
    """The emulator as one translation unit, so that its headers are compiled once."""
    sources = sorted((CSRC / "platform" / "emulator").glob("*.cpp"))
    return "".join(f'#include "{path}"\n' for path in sources)


def sources() -> list[Path]:
    return sorted([*HERE.glob("*.cu"), *HERE.glob("*.cpp")])


@cache
def build(variant: str) -> Program:
    """The program of all cases, in one of VARIANTS."""
    kernel_flags, emulator_flags, link_flags = VARIANTS[variant]
    OBJECTS.mkdir(parents=True, exist_ok=True)
    jobs = [(emulator_text(), emulator_flags)]
    # #line keeps the names of the sources in messages.
    jobs += [(f'#line 1 "{path}"\n{path.read_text()}', kernel_flags) for path in sources()]
    flags = [f"-I{HERE}"]
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda job: object_file(job[0], [*job[1], *flags]), jobs))
    key = hashlib.sha256("".join(map(str, objects)).encode()).hexdigest()[:24]
    program = OBJECTS / f"{variant}-{key}"
    if not program.exists():
        part = program.with_suffix(f".{os.getpid()}")
        run_compiler([*link_flags, *map(str, objects), "-o", str(part), "-ldl", "-pthread"])
        part.rename(program)
    return Program(program)
