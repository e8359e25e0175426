"""Checks the machine code of every kernel, compiled for sm_80 and sm_90a.

    python tests/sass/check.py [csrc/ops/conv/conv_direct.cu ...]

No kernel may use local memory: no spills, no stack frame, no STL or LDL. Further expectations are
comment lines next to the kernel in its .cu file:

    // sass: matmul_forward_mma_bf16_kernel HMMA LDSM LDGSTS registers<=128
    // sass: matmul_forward_wgmma_bf16_kernel HGMMA@90a UTMALDG@90a !HMMA@90a

A term is an instruction that must occur in every instantiation of the kernel, or must not (`!`), or
a limit on registers per thread. With `@80` or `@90a` it applies to that architecture only.
`moved=168`: an instantiation that moves registers between its warps (USETMAXREG) has exactly 168;
with fewer, the block would own fewer registers than its warps request, and hang. Some terms are
implied: a kernel named `…_wgmma_…` must have HGMMA on sm_90a, one named `…_mma_…` HMMA everywhere,
and one with USETMAXREG needs a term `moved`. `dynamic=BYTES` is the dynamic shared memory that the
kernel is launched with, for `make kernels`; `dynamic=BYTES:TEXT` applies to instantiations whose
name, without spaces, contains TEXT.
If nvcc or cuobjdump is missing, pinned wheels are installed into build/sass/.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "cmake"))

import machine_code  # noqa: E402
import toolchain  # noqa: E402
from machine_code import (  # noqa: E402, F401 (used by the tests)
    ARCHS,
    Kernel,
    count_opcodes,
    parse_block_sizes,
    parse_resources,
    readable,
)

COLUMNS = ("HGMMA", "HMMA", "FFMA", "LDSM", "LDGSTS", "UTMALDG")


@dataclass(frozen=True)
class Expectation:
    """One term of a `// sass:` comment."""

    kernel: str
    term: str
    arch: str | None

    def failure(self, kernel: Kernel) -> str | None:
        """How the kernel fails this expectation; None if it meets it."""
        limit = re.fullmatch(r"registers<=(\d+)", self.term)
        if limit:
            if kernel.registers > int(limit[1]):
                return f"uses {kernel.registers} registers, more than {limit[1]}"
        elif self.term.startswith("moved="):
            if kernel.opcodes["USETMAXREG"] and kernel.registers != int(self.term[6:]):
                return f"moves registers and has {kernel.registers}, not exactly {self.term[6:]}"
        elif self.term.startswith("!"):
            if kernel.opcodes[self.term[1:]]:
                return f"has {self.term[1:]}, which is forbidden"
        elif not kernel.opcodes[self.term]:
            return f"has no {self.term}"
        return None


def parse_expectations(source: str) -> list[Expectation]:
    """The `// sass:` comments of a .cu file; raises ValueError for an unknown term."""
    expectations = []
    for line in re.findall(r"^\s*// sass:(.*)$", source, re.MULTILINE):
        kernel, *terms = line.split()
        for text in terms:
            if re.fullmatch(r"dynamic=\d+(:\S+)?", text):
                continue
            match = re.fullmatch(r"(!?[A-Z][A-Z0-9_]*|registers<=\d+|moved=\d+)(?:@(\w+))?", text)
            if not match or match[2] not in (None, *ARCHS):
                raise ValueError(f"'// sass: {kernel}': cannot understand {text!r}")
            expectations.append(Expectation(kernel, match[1], match[2]))
    return expectations


def implied(kernel: Kernel) -> list[Expectation]:
    """The expectations that follow from the name of a kernel."""
    words = kernel.base.split("_")
    expectations = []
    if "wgmma" in words:
        expectations.append(Expectation(kernel.base, "HGMMA", "90a"))
    if "mma" in words:
        expectations.append(Expectation(kernel.base, "HMMA", None))
    return expectations


def problems(kernel: Kernel, expectations: Sequence[Expectation]) -> list[str]:
    """All problems of one kernel."""
    messages = []
    if kernel.spills or kernel.stack:
        messages.append(f"{kernel.spills} bytes of spills, stack frame of {kernel.stack} bytes")
    local = kernel.opcodes["STL"] + kernel.opcodes["LDL"]
    if local:
        messages.append(f"{local} accesses of local memory")
    has_moved = any(e.kernel == kernel.base and e.term.startswith("moved=") for e in expectations)
    if kernel.opcodes["USETMAXREG"] and not has_moved:
        messages.append("moves registers (USETMAXREG), but no term 'moved=' says how many it has")
    for expectation in (*implied(kernel), *expectations):
        if expectation.kernel == kernel.base and expectation.arch in (None, kernel.arch):
            messages.append(expectation.failure(kernel) or "")
    return [f"{kernel.name} (sm_{kernel.arch}): {text}" for text in messages if text]


def table(kernels: Sequence[Kernel]) -> str:
    """A table with one line per kernel."""
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
    """All kernels of the sources, and their problems."""
    inspected = machine_code.inspect_all(sources)
    kernels: list[Kernel] = []
    failures: list[str] = []
    for source, (mine, warnings) in inspected.items():
        expectations = parse_expectations(source.read_text(encoding="utf-8"))
        names = {k.base for k in mine}
        failures += [
            f"{source.name}: '// sass:' names {e}, which is not a kernel of this file"
            for e in sorted({e.kernel for e in expectations} - names)
        ]
        failures += [f for k in mine for f in problems(k, expectations)]
        failures += [f"{source.name}: {warning}" for warning in warnings]
        kernels += sorted(mine, key=lambda k: (k.name, k.arch))
    return kernels, failures


def main(arguments: Sequence[str]) -> int:
    sources = [Path(a).resolve() for a in arguments] or machine_code.kernel_files()
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
