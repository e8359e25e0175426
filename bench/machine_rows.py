"""Tables of facts from the machine code of kernels."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "cmake")]

from machine_code import Kernel  # noqa: E402

from bench.occupancy import occupancy  # noqa: E402

Inspected = dict[Path, tuple[list[Kernel], list[str]]]  # by source: kernels and warnings
KINDS = ("HGMMA", "HMMA", "FFMA", "LDG", "STG", "LDS", "LDGSTS", "UTMALDG")
TENSOR_CORES = {"HGMMA": "wgmma", "HMMA": "mma.sync"}
SUMMARY_ARCH = "90a"
SUMMARY_HEAD = ("defined in", "kernels", "forms", "threads", "registers", "shared bytes",
                "tensor cores", "occupancy")  # fmt: skip


def kernels_in_source() -> dict[str, list[str]]:
    """Names of the `__global__` functions, by file of csrc."""
    names_by_file = {}
    for folder in ("ops", "prim"):
        for path in filter(Path.is_file, sorted((ROOT / "csrc" / folder).rglob("*"))):
            text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
            names = re.findall(r"__global__[^;{]*?\b(\w+_kernel)\s*\(", text)
            if names:
                names_by_file[str(path.relative_to(ROOT / "csrc"))] = sorted(set(names))
    return names_by_file


class Group(NamedTuple):
    """The instantiations of a kernel for one architecture that come from one file."""

    name: str
    arch: str
    kernels: list[Kernel]

    def span(self, values: Iterable[int]) -> str:
        """One number, or the smallest and the largest."""
        low, high = min(values := list(values)), max(values)
        return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def groups(kernels: Iterable[Kernel]) -> list[Group]:
    instances: dict[tuple[str, str], list[Kernel]] = {}
    for k in kernels:
        instances.setdefault((k.base, k.arch), []).append(k)
    return [Group(*key, instances[key]) for key in sorted(instances)]


# -------------------------------------------------------------------- dynamic shared memory

Terms = dict[str, list[tuple[str, int]]]


def dynamic_bytes() -> Terms:
    """Dynamic shared memory per block, for the kernels that use it: the terms `dynamic=` of their
    `// sass:` lines as (text in the form's name, bytes); empty for a kernel without a term."""
    terms: Terms = {}
    for path in sorted((ROOT / "csrc").rglob("*")):
        if path.suffix not in (".cu", ".h") or "platform" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        for part in text.split("__global__")[1:]:
            name = re.search(r"\b(\w+_kernel)\s*\(", part)
            if name and "GPUDL_DYNAMIC_SHARED" in part:
                terms.setdefault(name[1], [])
        for line in re.findall(r"^\s*// sass:(.*)$", text, re.MULTILINE):
            for match in re.finditer(r"\bdynamic=(\d+)(?::(\S+))?", line):
                terms.setdefault(line.split()[0], []).append((match[2] or "", int(match[1])))
    return terms


def dynamic_of(kernel: Kernel, terms: Terms) -> int | None:
    """Bytes for one form: the largest term that applies, 0 if the kernel uses no dynamic shared
    memory, None if it does but no term applies."""
    sizes = terms.get(kernel.base)
    if sizes is None:
        return 0
    name = kernel.name.replace(" ", "")
    return max((size for text, size in sizes if text in name), default=None)


# -------------------------------------------------------------------- every kernel of a file


def file_table(kernels: Iterable[Kernel], terms: Terms) -> str:
    """The kernels that a source file instantiates, for both architectures."""
    head = ["kernel", "sm", "forms", "threads", "registers", "shared", "spills", *KINDS]
    rows = []
    for group in groups(kernels):
        if "_wgmma" in group.name and group.arch == "80":
            continue  # empty there
        rows.append(list(kernel_row(group, [dynamic_of(k, terms) for k in group.kernels])))
    return table([*head, "occupancy"], rows)


def kernel_row(group: Group, dynamic: list[int | None]) -> Iterator[str]:
    """dynamic: bytes of dynamic shared memory of each form."""
    kernels = group.kernels
    yield f"`{group.name}`"
    yield group.arch
    yield str(len(kernels))
    yield threads_text(group)
    yield group.span(k.registers for k in kernels)
    yield shared_text(group, dynamic)
    yield group.span(k.spills for k in kernels)
    for kind in KINDS:
        count = group.span(k.opcodes[kind] for k in kernels)
        yield "" if count == "0" else count
    yield occupancy_text(group, dynamic)


def threads_text(group: Group) -> str:
    known = all(k.threads for k in group.kernels)
    return group.span(k.threads for k in group.kernels) if known else "?"


def shared_text(group: Group, dynamic: list[int | None]) -> str:
    pairs = zip(group.kernels, dynamic, strict=True)
    shared = group.span(k.shared + (more or 0) for k, more in pairs)
    return f"{shared} + ?" if None in dynamic else shared


def occupancy_text(group: Group, dynamic: list[int | None]) -> str:
    """The lowest and highest occupancy of all forms, and what limits the lowest."""
    if not all(k.threads for k in group.kernels):
        return "?"
    occupancies = []
    for k, more in zip(group.kernels, dynamic, strict=True):
        if more is None:
            return "?"
        occupancies.append(occupancy(k.arch, k.threads, k.registers, k.shared + more))
    worst, best = min(occupancies, key=lambda o: o.fraction), max(o.fraction for o in occupancies)
    span = f"{worst.fraction:.0%}" if worst.fraction == best else f"{worst.fraction:.0%}–{best:.0%}"
    return span if worst.fraction == 1 else f"{span} ({worst.limit})"


# -------------------------------------------------------------------- one row per defining file


def summary_table(inspected: Inspected, terms: Terms) -> str:
    """One row for each file of csrc that defines kernels, over all their forms for sm_90a."""
    home = {name: file for file, names in kernels_in_source().items() for name in names}
    forms: dict[str, dict[str, Kernel]] = {}  # several sources may use the same form
    for kernels, _ in inspected.values():
        for kernel in kernels:
            if kernel.arch == SUMMARY_ARCH:
                forms.setdefault(home[kernel.base], {})[kernel.name] = kernel
    rows = [list(summary_row(file, list(forms[file].values()), terms)) for file in sorted(forms)]
    return table(list(SUMMARY_HEAD), rows, texts=2)


def summary_row(file: str, kernels: list[Kernel], terms: Terms) -> Iterator[str]:
    group = Group(file, SUMMARY_ARCH, kernels)
    dynamic = [dynamic_of(k, terms) for k in kernels]
    yield f"`csrc/{file}`"
    yield names_text(k.base for k in kernels)
    yield str(len(kernels))
    yield threads_text(group)
    yield group.span(k.registers for k in kernels)
    yield shared_text(group, dynamic)
    yield ", ".join(
        name for kind, name in TENSOR_CORES.items() if any(k.opcodes[kind] for k in kernels)
    )
    yield occupancy_text(group, dynamic)


def names_text(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(set(names)))


def table(head: list[str], rows: list[list[str]], texts: int = 1) -> str:
    """texts: leading columns that hold words, not numbers."""
    rule = ["---" if i < texts else "---:" for i in range(len(head))]
    lines = [head, rule, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
