"""Finds the compilers for gpudl's native modules, and decides what to build.

Used by setup.py (pip), cmake/build.py (development builds) and the machine-code check.
Needs only the standard library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SWITCHES = ("on", "off", "auto")
DEFAULT_ARCHS = ("80", "90a")
ALL_ARCHS = ("75", "80", "86", "89", "90a", "100", "120")
SYSTEM = Path("/usr/local")  # where CUDA's installer puts toolkits
PTX = "80"  # forward compatible: the driver compiles it for GPUs newer than the list

CXX_PROBE = """
#include <concepts>
#include <span>
#include <vector>
template <std::integral T> T sum(std::span<const T> x) { T s{}; for (T v : x) s += v; return s; }
int probe() { std::vector<int> v(3, 1); return sum<int>(v); }
"""

CUDA_PROBE = """
#include <cuda_runtime.h>
#include <concepts>
template <std::integral T> __global__ void probe(T* x) { *x = 1; }
void run(int* x) { probe<<<1, 1>>>(x); }
"""


class ToolchainError(Exception):
    """Something requested cannot be built; the message is one sentence and names the fix."""


@dataclass(frozen=True)
class Compiler:
    path: str
    version: str


@dataclass(frozen=True)
class Nvcc:
    path: str
    root: str
    version: tuple[int, int]
    include: str
    cudart: str  # the static library


@dataclass(frozen=True)
class Plan:
    """What to build with which compilers; `notes` say what is left out and why."""

    compiler: Compiler | None
    nvcc: Nvcc | None
    emulator: bool
    archs: tuple[str, ...]
    ptx: bool
    notes: tuple[str, ...]

    def cmake_args(self) -> list[str]:
        """Definitions for CMakeLists.txt; empty if there is nothing to compile."""
        if self.compiler is None or not (self.emulator or self.nvcc):
            return []
        args = {
            "CMAKE_CXX_COMPILER": self.compiler.path,
            "GPUDL_EMULATOR": "ON" if self.emulator else "OFF",
            "GPUDL_CUDA": "ON" if self.nvcc else "OFF",
            "GPUDL_COMPILER": self.compiler.version,
        }
        if self.nvcc:
            args |= {
                "GPUDL_NVCC": self.nvcc.path,
                "GPUDL_CUDA_INCLUDE": self.nvcc.include,
                "GPUDL_CUDART": self.nvcc.cudart,
                "GPUDL_NVCC_VERSION": "{}.{}".format(*self.nvcc.version),
                "GPUDL_GENCODE": ";".join(gencode(self.archs, self.ptx)),
                "GPUDL_ARCHS": " ".join(self.archs) + (f" {PTX}+PTX" if self.ptx else ""),
            }
        return [f"-D{name}={value}" for name, value in args.items()]


def run(command: Sequence[str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs a command without raising: a program that cannot start counts as failed."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def switch(name: str, env: Mapping[str, str]) -> str:
    """The value of GPUDL_EMULATOR or GPUDL_CUDA."""
    value = env.get(name, "").strip().lower() or "auto"
    if value not in SWITCHES:
        raise ToolchainError(f"{name} is {value!r}; it must be one of {', '.join(SWITCHES)}.")
    return value


def last_error(output: str) -> str:
    """The most informative line of a compiler's output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")


def compiles(command: Sequence[str], source: str, suffix: str) -> str | None:
    """None if the command compiles the source, else the reason."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe" + suffix)
        path.write_text(source, encoding="utf-8")
        result = run([*command, str(path), "-o", str(path.with_suffix(".o"))])
    if result.returncode == 0:
        return None
    return last_error(result.stderr) or f"exit code {result.returncode}"


def find_compiler(env: Mapping[str, str]) -> Compiler:
    """The first C++ compiler that supports C++20: $CXX, or else c++, g++ or clang++ on PATH.

    Raises ToolchainError if none works. If $CXX is set, no other is tried.
    """
    requested = env.get("CXX", "").strip()
    problems = []
    for name in [requested] if requested else ["c++", "g++", "clang++"]:
        path = shutil.which(name, path=env.get("PATH"))
        if path is None:
            problems.append(f"{name}: not found")
            continue
        reason = compiles([path, "-std=c++20", "-fPIC", "-shared"], CXX_PROBE, ".cpp")
        if reason is None:
            lines = run([path, "--version"]).stdout.splitlines()
            return Compiler(path, lines[0] if lines else "unknown")
        problems.append(f"{path}: {reason}")
    raise ToolchainError(
        f"no C++20 compiler works ({'; '.join(problems)}); install one (apt-get install g++) "
        "or name it in CXX."
    )


def require_python_headers() -> None:
    """Raises ToolchainError if extension modules cannot be compiled for this Python."""
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").is_file():
        raise ToolchainError(
            f"Python's headers are missing ({include}/Python.h); install them "
            "(apt-get install python3-dev)."
        )


def nvcc_candidates(env: Mapping[str, str]) -> Iterator[str]:
    """Possible paths of nvcc, in order: explicit variables, PATH, CUDA_HOME, wheels, /usr/local."""
    for name in ("GPUDL_NVCC", "CUDACXX"):
        if env.get(name):
            yield env[name]
    on_path = shutil.which("nvcc", path=env.get("PATH"))
    if on_path:
        yield on_path
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if env.get(name):
            yield str(Path(env[name], "bin", "nvcc"))
    for folder in sys.path:
        yield from map(str, sorted(Path(folder).glob("nvidia/cu1[0-9]/bin/nvcc"), reverse=True))
    yield from map(str, SYSTEM.glob("cuda/bin/nvcc"))
    yield from map(str, sorted(SYSTEM.glob("cuda-*/bin/nvcc"), reverse=True))


def describe_nvcc(path: str) -> Nvcc:
    """Asks nvcc where its toolkit is, because nvcc on PATH may be a wrapper script."""
    dryrun = run([path, "--dryrun", "-E", "-x", "cu", os.devnull]).stderr
    top = re.search(r"^#\$ TOP=(.*)$", dryrun, re.MULTILINE)
    version = re.search(r"release (\d+)\.(\d+)", run([path, "--version"]).stdout)
    if not top or not version:
        raise ToolchainError(f"{path} does not behave like nvcc")
    root = Path(top[1].strip()).resolve()
    target = [root, *sorted(root.glob("targets/*-linux"))]
    includes = [t / "include" for t in target]
    includes += [Path(p) for p in re.findall(r'-I([^"\s]+)', dryrun)]
    libraries = [t / name for t in target for name in ("lib64", "lib")]
    libraries += [Path(p) for p in re.findall(r'-L([^"\s]+)', dryrun)]
    libraries += [Path("/usr/lib", f"{os.uname().machine}-linux-gnu")]
    include = next((p for p in includes if (p / "cuda_runtime.h").is_file()), None)
    cudart = next((p for p in libraries if (p / "libcudart_static.a").is_file()), None)
    if include is None or cudart is None:
        missing = "cuda_runtime.h" if include is None else "libcudart_static.a"
        raise ToolchainError(f"{path} lacks {missing} (install CUDA's runtime development files)")
    real = root / "bin" / "nvcc"
    return Nvcc(
        str(real) if os.access(real, os.X_OK) else path,
        str(root),
        (int(version[1]), int(version[2])),
        str(include.resolve()),
        str((cudart / "libcudart_static.a").resolve()),
    )


def find_nvcc(env: Mapping[str, str], compiler: Compiler) -> Nvcc:
    """The first nvcc that compiles C++20 together with the host compiler.

    Raises ToolchainError if there is none.
    """
    problems = []
    for path in dict.fromkeys(nvcc_candidates(env)):
        if not os.access(path, os.X_OK):
            continue
        try:
            nvcc = describe_nvcc(path)
        except ToolchainError as error:
            problems.append(str(error))
            continue
        command = [nvcc.path, "-std=c++20", "-ccbin", compiler.path, "-arch=sm_80", "-c"]
        reason = compiles(command, CUDA_PROBE, ".cu")
        if reason is None:
            return nvcc
        problems.append(f"{nvcc.path} {nvcc.version[0]}.{nvcc.version[1]}: {reason}")
    tried = f" ({'; '.join(problems)})" if problems else ""
    raise ToolchainError(
        f"no nvcc works{tried}; install the CUDA toolkit, 12.0 or newer, and put nvcc on PATH "
        "or set CUDA_HOME."
    )


def present_archs() -> tuple[str, ...]:
    """Architectures of the GPUs in this machine, according to nvidia-smi; empty without one."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return ()
    result = run([smi, "--query-gpu=compute_cap", "--format=csv,noheader"])
    if result.returncode != 0:
        return ()
    capabilities = re.findall(r"^(\d+)\.(\d)$", result.stdout, re.MULTILINE)
    names = {f"{major}{minor}" for major, minor in capabilities}
    return tuple(sorted(("90a" if name == "90" else name for name in names), key=arch_order))


def arch_order(arch: str) -> int:
    return int(arch.rstrip("af"))


def architectures(nvcc: Nvcc, env: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """Architectures to compile for, and whether to add PTX for newer GPUs.

    From GPUDL_ARCHS ("80;90a", or "all"), else from the GPUs present, else DEFAULT_ARCHS.
    """
    requested = env.get("GPUDL_ARCHS", "").strip().lower()
    known = set(re.findall(r"compute_(\w+)", run([nvcc.path, "--list-gpu-arch"]).stdout))
    if requested == "all":
        return tuple(a for a in ALL_ARCHS if a.rstrip("a") in known), True
    if not requested:
        present = tuple(a for a in present_archs() if a.rstrip("a") in known)
        return (present, False) if present else (DEFAULT_ARCHS, True)
    archs = tuple(dict.fromkeys(re.split(r"[;,\s]+", requested.strip(";, "))))
    for arch in archs:
        if not re.fullmatch(r"\d+[af]?", arch) or arch.rstrip("af") not in known:
            raise ToolchainError(
                f"GPUDL_ARCHS names {arch!r}, which nvcc {nvcc.version[0]}.{nvcc.version[1]} does "
                f"not support; use 'all' or some of {' '.join(ALL_ARCHS)}, separated by ';'."
            )
    return archs, set(archs) == set(DEFAULT_ARCHS)


def gencode(archs: Sequence[str], ptx: bool) -> list[str]:
    """nvcc's options for these architectures."""
    flags = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in archs]
    if ptx:
        flags.append(f"-gencode=arch=compute_{PTX},code=compute_{PTX}")
    return flags


def plan(env: Mapping[str, str] | None = None) -> Plan:
    """Decides what to build from GPUDL_EMULATOR, GPUDL_CUDA, GPUDL_ARCHS and what is installed.

    CUDA kernels take minutes and many megabytes, so by default they are built only where there is a
    GPU, and only for that GPU.
    Raises ToolchainError if a module is asked for ("on") and cannot be built.
    """
    env = os.environ if env is None else env
    emulator, cuda = switch("GPUDL_EMULATOR", env), switch("GPUDL_CUDA", env)
    notes: list[str] = []
    compiler, nvcc, archs, ptx = None, None, (), False

    def missing(error: ToolchainError, **wanted: str) -> None:
        for module, value in wanted.items():
            if value == "on":
                raise ToolchainError(f"GPUDL_{module.upper()}=on, but {error}") from error
            if value == "auto":
                notes.append(f"gpudl._{module} is left out: {error}")

    if emulator == cuda == "off":
        return Plan(None, None, False, (), False, ())
    try:
        require_python_headers()
        compiler = find_compiler(env)
    except ToolchainError as error:
        missing(error, emulator=emulator, cuda=cuda)
        return Plan(None, None, False, (), False, tuple(notes))
    if cuda == "auto" and not env.get("GPUDL_ARCHS", "").strip() and not present_archs():
        notes.append(
            "gpudl._cuda is left out: no NVIDIA GPU was found (nvidia-smi lists none); "
            "to build it for another machine, set GPUDL_CUDA=on."
        )
    elif cuda != "off":
        try:
            nvcc = find_nvcc(env, compiler)
        except ToolchainError as error:
            missing(error, cuda=cuda)
        else:
            archs, ptx = architectures(nvcc, env)
    return Plan(compiler, nvcc, emulator != "off", archs, ptx, tuple(notes))
