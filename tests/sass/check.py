"""Inspects the machine code of every kernel in csrc/ops/*.cu, compiled for sm_80 and sm_90a.

    python tests/sass/check.py [csrc/ops/conv2d.cu ...]

No kernel may touch local memory: no spills, no stack frame, no STL or LDL. What else is expected
of a kernel stands beside it in its .cu file, one comment line each:

    // sass: matmul_forward_mma_bf16_kernel HMMA LDSM LDGSTS registers<=128
    // sass: matmul_forward_wgmma_bf16_kernel HGMMA@90a UTMALDG@90a !HMMA@90a

A term is an instruction that must occur in every instantiation of the kernel, or must not (`!`), or
a limit of registers a thread; `@80` and `@90a` hold for that architecture only. Without being told,
a kernel named `…_wgmma_…` must have HGMMA on sm_90a, one named `…_mma_…` HMMA everywhere. Where no
nvcc or cuobjdump is installed, pinned wheels of them are put into build/sass/.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "build" / "sass"
COMPILER = OUT / "compiler"  # wheels, where the machine has none
DISASSEMBLER = OUT / "disassembler"
sys.path[:0] = [str(ROOT / "cmake"), str(COMPILER), str(DISASSEMBLER)]

import toolchain  # noqa: E402

ARCHS = ("80", "90a")
COLUMNS = ("HGMMA", "HMMA", "FFMA", "LDSM", "LDGSTS", "UTMALDG")
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
    opcodes: Counter[str] = field(default_factory=Counter)

    @property
    def base(self) -> str:
        return self.name.split("<")[0]


@dataclass(frozen=True)
class Expectation:
    """One term of a `// sass:` comment."""

    kernel: str
    term: str
    arch: str | None

    def failure(self, kernel: Kernel) -> str | None:
        """What is wrong with the kernel, None if nothing is."""
        limit = re.fullmatch(r"registers<=(\d+)", self.term)
        if limit:
            if kernel.registers > int(limit[1]):
                return f"uses {kernel.registers} registers, more than {limit[1]}"
        elif self.term.startswith("!"):
            if kernel.opcodes[self.term[1:]]:
                return f"has {self.term[1:]}, which it must not"
        elif not kernel.opcodes[self.term]:
            return f"has no {self.term}"
        return None


def parse_expectations(source: str) -> list[Expectation]:
    """The `// sass:` comments of a .cu file; ValueError for a term that is not understood."""
    found = []
    for line in re.findall(r"^\s*// sass:(.*)$", source, re.MULTILINE):
        kernel, *terms = line.split()
        for text in terms:
            match = re.fullmatch(r"(!?[A-Z][A-Z0-9_]*|registers<=\d+)(?:@(\w+))?", text)
            if not match or match[2] not in (None, *ARCHS):
                raise ValueError(f"'// sass: {kernel}': cannot understand {text!r}")
            found.append(Expectation(kernel, match[1], match[2]))
    return found


def implied(kernel: Kernel) -> list[Expectation]:
    """What the name of a kernel promises."""
    words = kernel.base.split("_")
    found = []
    if "wgmma" in words:
        found.append(Expectation(kernel.base, "HGMMA", "90a"))
    if "mma" in words:
        found.append(Expectation(kernel.base, "HMMA", None))
    return found


def parse_resources(log: str, arch: str) -> dict[str, Kernel]:
    """Kernels by symbol from what `nvcc -Xptxas -v` prints."""
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
    """Instructions of each function in `cuobjdump -sass`'s output, without their modifiers."""
    counts: dict[str, Counter[str]] = {}
    for part in re.split(r"^\s*Function : ", sass, flags=re.MULTILINE)[1:]:
        symbol = part.split(None, 1)[0]
        found = re.findall(
            r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", part, re.MULTILINE
        )
        counts[symbol] = Counter(found)
    return counts


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


def problems(kernel: Kernel, expectations: Iterable[Expectation]) -> list[str]:
    """Everything that is wrong with one kernel."""
    found = []
    if kernel.spills or kernel.stack:
        found.append(f"{kernel.spills} bytes of spills, stack frame of {kernel.stack} bytes")
    local = kernel.opcodes["STL"] + kernel.opcodes["LDL"]
    if local:
        found.append(f"{local} accesses of local memory")
    for expectation in (*implied(kernel), *expectations):
        if expectation.kernel == kernel.base and expectation.arch in (None, kernel.arch):
            found.append(expectation.failure(kernel) or "")
    return [f"{kernel.name} (sm_{kernel.arch}): {text}" for text in found if text]


def install(wheels: Sequence[str], folder: Path) -> None:
    """Puts wheels into a folder under build/sass."""
    print(f"installing {' '.join(wheels)} into {folder.relative_to(ROOT)}", flush=True)
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    command += ["--no-deps", "--upgrade", "--target", str(folder), *wheels]
    if subprocess.run(command, check=False).returncode:
        sys.exit(
            "gpudl: the compiler's wheels cannot be installed; put nvcc and cuobjdump on PATH."
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
        sys.exit("gpudl: cuobjdump is missing; install CUDA's binary utilities.")
    return nvcc, compiler, cuobjdump


def find_cuobjdump(nvcc: toolchain.Nvcc) -> str | None:
    folders = [Path(nvcc.root, "bin")]
    folders += [p for f in sys.path for p in sorted(Path(f).glob("nvidia/cu1[0-9]/bin"))]
    search = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
    return shutil.which("cuobjdump", path=search)


def source_hash() -> str:
    """Changes with anything that a kernel may include."""
    digest = hashlib.sha256()
    for path in sorted(p for p in (ROOT / "csrc").rglob("*") if p.suffix in (".h", ".cuh")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def inspect(
    source: Path, arch: str, tools: tuple[toolchain.Nvcc, toolchain.Compiler, str], headers: str
) -> tuple[list[Kernel], str]:
    """Compiles and disassembles one file; returns its kernels and the compiler's warnings."""
    nvcc, compiler, cuobjdump = tools
    command = [nvcc.path, "-std=c++20", "-O3", "-ccbin", compiler.path, "-I", str(ROOT / "csrc")]
    command += ["-Xptxas", "-v", "-cubin", f"-gencode=arch=compute_{arch},code=sm_{arch}"]
    key = hashlib.sha256(repr((command, headers)).encode() + source.read_bytes()).hexdigest()[:16]
    cubin = OUT / f"{source.stem}.sm_{arch}.{key}.cubin"
    log = cubin.with_suffix(".log")
    if not (cubin.is_file() and log.is_file()):
        for old in OUT.glob(f"{source.stem}.sm_{arch}.*"):
            old.unlink()
        result = toolchain.run([*command, str(source), "-o", str(cubin)], timeout=900)
        if result.returncode:
            sys.exit(f"gpudl: {source.name} does not compile for sm_{arch}:\n{result.stderr}")
        log.write_text(result.stdout + result.stderr, encoding="utf-8")
    text = log.read_text(encoding="utf-8")
    kernels = parse_resources(text, arch)
    opcodes = count_opcodes(toolchain.run([cuobjdump, "-sass", str(cubin)], timeout=900).stdout)
    if missing := kernels.keys() - opcodes.keys():
        sys.exit(f"gpudl: {cuobjdump} shows no code of {', '.join(sorted(missing))}")
    names = demangle(list(kernels))
    for kernel, name in zip(kernels.values(), names, strict=True):
        kernel.name, kernel.opcodes = readable(name), opcodes[kernel.symbol]
    warnings = "\n".join(line for line in text.splitlines() if "Performance Loss" in line)
    return list(kernels.values()), warnings


def demangle(symbols: list[str]) -> list[str]:
    if not symbols:
        return []
    return toolchain.run(["c++filt", *symbols]).stdout.splitlines() or symbols


def table(kernels: Sequence[Kernel]) -> str:
    """One line a kernel."""
    width = min(max((len(k.name) for k in kernels), default=6), 70)
    head = f"{'kernel':{width}} {'arch':>4} {'regs':>4} {'shared':>6} " + " ".join(
        f"{name:>7}" for name in COLUMNS
    )
    lines = [head, "-" * len(head)]
    for k in kernels:
        counts = " ".join(f"{k.opcodes[name]:7}" for name in COLUMNS)
        lines.append(f"{k.name[:width]:{width}} {k.arch:>4} {k.registers:4} {k.shared:6} {counts}")
    return "\n".join(lines)


def check(sources: Sequence[Path]) -> tuple[list[Kernel], list[str]]:
    """All kernels of the sources, and everything that is wrong with them."""
    tools, headers = find_tools(), source_hash()
    OUT.mkdir(parents=True, exist_ok=True)
    jobs = [(source, arch) for source in sources for arch in ARCHS]
    with ThreadPoolExecutor(int(os.environ.get("GPUDL_JOBS") or os.cpu_count() or 1)) as pool:
        results = list(pool.map(lambda job: inspect(*job, tools, headers), jobs))
    kernels: list[Kernel] = []
    failures: list[str] = []
    for source in sources:
        here = [r for (s, _), r in zip(jobs, results, strict=True) if s == source]
        mine = [k for found, _ in here for k in found]
        expectations = parse_expectations(source.read_text(encoding="utf-8"))
        names = {k.base for k in mine}
        failures += [
            f"{source.name}: '// sass:' names {e}, which is not a kernel of this file"
            for e in sorted({e.kernel for e in expectations} - names)
        ]
        failures += [f for k in mine for f in problems(k, expectations)]
        failures += [f"{source.name}: {warning}" for _, warning in here if warning]
        kernels += sorted(mine, key=lambda k: (k.name, k.arch))
    return kernels, failures


def main(arguments: Sequence[str]) -> int:
    sources = [Path(a).resolve() for a in arguments] or sorted(ROOT.glob("csrc/ops/*.cu"))
    try:
        kernels, failures = check(sources)
    except (toolchain.ToolchainError, ValueError) as error:
        print(f"gpudl: {error}", file=sys.stderr)
        return 2
    if not kernels:
        print("gpudl: no kernels found", file=sys.stderr)
        return 2
    print(table(kernels))
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"{len(kernels)} kernels for {' and '.join('sm_' + a for a in ARCHS)}, ", end="")
    print(f"{len(failures)} problems" if failures else "no spills, all instructions as declared")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
