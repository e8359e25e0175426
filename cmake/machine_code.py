"""Compiles .cu files and reads their machine code from the output of compiler and disassembler.

tests/sass/check.py checks it, bench/kernels_table.py tabulates it. If nvcc or cuobjdump is missing,
pinned wheels are installed into build/sass/.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def kernel_files() -> list[Path]:
    """All source files of kernels."""
    return sorted(p for part in ("prim", "ops") for p in (ROOT / "csrc" / part).rglob("*.cu"))


OUT = ROOT / "build" / "sass"
COMPILER = OUT / "compiler"  # wheels, if nvcc is not installed
DISASSEMBLER = OUT / "disassembler"
sys.path[:0] = [str(ROOT / "cmake"), str(COMPILER), str(DISASSEMBLER)]

import toolchain  # noqa: E402

ARCHS = ("80", "90a")
COMPILER_WHEELS = [
    f"nvidia-{name}==13.0.*" for name in ("cuda-nvcc", "nvvm", "cuda-crt", "cuda-runtime")
]
DISASSEMBLER_WHEELS = ["nvidia-cuda-cuobjdump==13.*", "nvidia-cuda-nvdisasm==13.*"]


@dataclass
class Kernel:
    """The machine code of one entry function."""

    symbol: str
    arch: str
    name: str = ""  # readable, with template arguments
    registers: int = 0
    shared: int = 0
    stack: int = 0
    spills: int = 0
    threads: int = 0  # per block, from __launch_bounds__; 0 if not declared
    opcodes: Counter[str] = field(default_factory=Counter)

    @property
    def base(self) -> str:
        return self.name.split("<")[0]


def parse_resources(log: str, arch: str) -> dict[str, Kernel]:
    """Kernels by symbol, from the output of `nvcc -Xptxas -v`."""
    kernels: dict[str, Kernel] = {}
    kernel = Kernel("", arch)
    for line in log.splitlines():
        if match := re.search(r"(?:entry function '|Function properties for )(\w+)", line):
            kernel = kernels.setdefault(match[1], Kernel(match[1], arch))
        elif match := re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes", line
        ):
            kernel.stack = int(match[1])
            kernel.spills = int(match[2]) + int(match[3])
        elif match := re.search(r"Used (\d+) registers", line):
            kernel.registers = int(match[1])
            shared = re.search(r"(\d+) bytes smem", line)
            kernel.shared = int(shared[1]) if shared else 0
    return kernels


def count_opcodes(sass: str) -> dict[str, Counter[str]]:
    """Counts of opcodes, without modifiers, per function in the output of `cuobjdump -sass`."""
    counts: dict[str, Counter[str]] = {}
    for part in re.split(r"^\s*Function : ", sass, flags=re.MULTILINE)[1:]:
        symbol = part.split(None, 1)[0]
        opcodes = re.findall(
            r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", part, re.MULTILINE
        )
        counts[symbol] = Counter(opcodes)
    return counts


def parse_block_sizes(elf: str) -> dict[str, int]:
    """Threads per block (__launch_bounds__) by symbol, from the output of `cuobjdump -elf`."""
    threads: dict[str, int] = {}
    for part in re.split(r"^\.nv\.info\.", elf, flags=re.MULTILINE)[1:]:
        match = re.search(r"EIATTR_MAX_THREADS\s+Format:\s+\S+\s+Value:\s+([^\n]+)", part)
        if match:
            threads[part.split(None, 1)[0]] = math.prod(int(n, 16) for n in match[1].split())
    return threads


def readable(demangled: str) -> str:
    """`void gpudl::(anonymous namespace)::f_kernel<128>(int)` becomes `f_kernel<128>`."""
    text = re.sub(r"(?:\(anonymous namespace\)|\w+)::", "", demangled)
    depth, end = 0, len(text)
    for at, char in enumerate(text):
        depth += (char == "<") - (char == ">")
        if char == "(" and depth == 0:
            end = at
            break
    text = text[:end]
    return text.removeprefix("void ")


def install(wheels: Sequence[str], folder: Path) -> None:
    """Installs wheels into a folder under build/sass."""
    print(f"installing {' '.join(wheels)} into {folder.relative_to(ROOT)}", flush=True)
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    command += ["--no-deps", "--upgrade", "--target", str(folder), *wheels]
    if subprocess.run(command, check=False).returncode:
        sys.exit(
            f"gpudl: pip could not install {' '.join(wheels)} (its message is above); "
            "put nvcc and cuobjdump on PATH instead."
        )


def find_tools() -> tuple[toolchain.Nvcc, toolchain.Compiler, str]:
    """nvcc, its host compiler and cuobjdump; installs what is missing."""
    compiler = toolchain.find_compiler(os.environ)
    try:
        nvcc = toolchain.find_nvcc(os.environ, compiler)
    except toolchain.ToolchainError:
        install(COMPILER_WHEELS, COMPILER)
        nvcc = toolchain.find_nvcc(os.environ, compiler)
    cuobjdump = find_cuobjdump(nvcc)
    if cuobjdump is None:
        install(DISASSEMBLER_WHEELS, DISASSEMBLER)
        cuobjdump = find_cuobjdump(nvcc)
    if cuobjdump is None:
        sys.exit("gpudl: cuobjdump is missing; install CUDA's binary utilities or put it on PATH.")
    return nvcc, compiler, cuobjdump


def find_cuobjdump(nvcc: toolchain.Nvcc) -> str | None:
    folders = [Path(nvcc.root, "bin")]
    folders += [p for f in sys.path for p in sorted(Path(f).glob("nvidia/cu1[0-9]/bin"))]
    search = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
    return shutil.which("cuobjdump", path=search)


def source_hash(source: Path) -> str:
    """A hash of the file and of all headers of csrc that it includes, directly or indirectly."""
    csrc, digest = ROOT / "csrc", hashlib.sha256()
    known, waiting = {source}, [source]
    while waiting:
        text = waiting.pop().read_text(encoding="utf-8")
        for name in re.findall(r'^\s*#\s*include "([^"]+)"', text, re.MULTILINE):
            if (csrc / name) not in known and (csrc / name).is_file():
                known.add(csrc / name)
                waiting.append(csrc / name)
    for path in sorted(known):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def inspect(
    source: Path, arch: str, tools: tuple[toolchain.Nvcc, toolchain.Compiler, str]
) -> tuple[list[Kernel], str]:
    """Compiles and disassembles one file; returns its kernels and the compiler's warnings."""
    nvcc, compiler, cuobjdump = tools
    command = [nvcc.path, "-std=c++20", "-O3", "-ccbin", compiler.path, "-I", str(ROOT / "csrc")]
    command += ["-Xptxas", "-v", "-cubin", f"-gencode=arch=compute_{arch},code=sm_{arch}"]
    key = hashlib.sha256(repr((command, source_hash(source))).encode()).hexdigest()[:16]
    name = os.path.relpath(source, ROOT / "csrc").replace(os.sep, ".")
    cubin = OUT / f"{name}.sm_{arch}.{key}.cubin"
    log = cubin.with_suffix(".log")
    if not (cubin.is_file() and log.is_file()):
        for old in OUT.glob(f"{name}.sm_{arch}.*"):
            old.unlink()
        result = toolchain.run([*command, str(source), "-o", str(cubin)], timeout=900)
        if result.returncode:
            sys.exit(f"gpudl: {source.name} does not compile for sm_{arch}:\n{result.stderr}")
        log.write_text(result.stdout + result.stderr, encoding="utf-8")
    text = log.read_text(encoding="utf-8")
    kernels = parse_resources(text, arch)
    opcodes = count_opcodes(toolchain.run([cuobjdump, "-sass", str(cubin)], timeout=900).stdout)
    if missing := kernels.keys() - opcodes.keys():
        sys.exit(f"gpudl: {cuobjdump} shows no code for {', '.join(sorted(missing))}")
    threads = parse_block_sizes(toolchain.run([cuobjdump, "-elf", str(cubin)], timeout=900).stdout)
    names = demangle(list(kernels))
    for kernel, name in zip(kernels.values(), names, strict=True):
        kernel.name, kernel.opcodes = readable(name), opcodes[kernel.symbol]
        kernel.threads = threads.get(kernel.symbol, 0)
    warnings = "\n".join(line for line in text.splitlines() if "Performance Loss" in line)
    return list(kernels.values()), warnings


def demangle(symbols: list[str]) -> list[str]:
    if not symbols:
        return []
    return toolchain.run(["c++filt", *symbols]).stdout.splitlines() or symbols


def inspect_all(sources: Sequence[Path]) -> dict[Path, tuple[list[Kernel], list[str]]]:
    """Kernels and warnings of each file, for all architectures."""
    tools = find_tools()
    OUT.mkdir(parents=True, exist_ok=True)
    jobs = [(source, arch) for source in sources for arch in ARCHS]
    with ThreadPoolExecutor(int(os.environ.get("GPUDL_JOBS") or os.cpu_count() or 1)) as pool:
        results = list(pool.map(lambda job: inspect(*job, tools), jobs))
    inspected: dict[Path, tuple[list[Kernel], list[str]]] = {s: ([], []) for s in sources}
    for (source, _), (kernels, warning) in zip(jobs, results, strict=True):
        inspected[source][0].extend(kernels)
        inspected[source][1].extend([warning] if warning else [])
    return inspected
