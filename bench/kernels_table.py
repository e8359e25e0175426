"""Writes docs/kernels.md: the machine code of all kernels, and what to expect of them on an H100.

    python bench/kernels_table.py [--check] [csrc/ops/conv/conv_direct.cu ...]

Compiles all kernels for sm_80 and sm_90a (files that did not change are not compiled again) and
reads the machine code; needs the emulator module to know which kernels take which inputs. With
files named, only their tables are made anew. --check only says whether the file names every kernel
of csrc/ops and csrc/prim; it compiles nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "cmake")]

import machine_code  # noqa: E402
from machine_code import Kernel  # noqa: E402

from bench.occupancy import occupancy  # noqa: E402

PAGE = ROOT / "docs" / "kernels.md"
RESULTS = ROOT / "bench" / "results"
REACHED_FLOPS = 798 / 989.4  # of the data sheet's: bfloat16 at 8192³ through a vendor's library
REACHED_BANDWIDTH = 3.0e12
KINDS = ("HGMMA", "HMMA", "FFMA", "LDG", "STG", "LDS", "LDGSTS", "UTMALDG")


def kernels_in_source() -> dict[str, list[str]]:
    """Names of the `__global__` functions, by file of csrc."""
    found = {}
    for folder in ("ops", "prim"):
        for path in filter(Path.is_file, sorted((ROOT / "csrc" / folder).rglob("*"))):
            text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
            names = re.findall(r"__global__[^;{]*?\b(\w+_kernel)\s*\(", text)
            if names:
                found[str(path.relative_to(ROOT / "csrc"))] = sorted(set(names))
    return found


def missing(page: str) -> list[str]:
    """Kernels of the source that the page does not name."""
    named = set(re.findall(r"\b\w+_kernel\b", page))
    return sorted({n for names in kernels_in_source().values() for n in names} - named)


# -------------------------------------------------------------------- machine code


class Group(NamedTuple):
    """The instantiations of a kernel for one architecture that come from one file."""

    name: str
    arch: str
    kernels: list[Kernel]

    def span(self, values: Iterable[int]) -> str:
        """One number, or the least and the largest."""
        low, high = min(values := list(values)), max(values)
        return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def groups(kernels: Iterable[Kernel]) -> list[Group]:
    found: dict[tuple[str, str], list[Kernel]] = {}
    for k in kernels:
        found.setdefault((k.base, k.arch), []).append(k)
    return [Group(*key, found[key]) for key in sorted(found)]


Terms = dict[str, list[tuple[str, int]]]


def dynamic_bytes() -> Terms:
    """Dynamic shared memory of a block, of the kernels that use some: what the terms `dynamic=` of
    their `// sass:` lines tell, as (text in the form's name, bytes); none where nothing is said."""
    found: Terms = {}
    for path in sorted((ROOT / "csrc").rglob("*")):
        if path.suffix not in (".cu", ".h") or "platform" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        for part in text.split("__global__")[1:]:
            name = re.search(r"\b(\w+_kernel)\s*\(", part)
            if name and "GPUDL_DYNAMIC_SHARED" in part:
                found.setdefault(name[1], [])
        for line in re.findall(r"^\s*// sass:(.*)$", text, re.MULTILINE):
            for match in re.finditer(r"\bdynamic=(\d+)(?::(\S+))?", line):
                found.setdefault(line.split()[0], []).append((match[2] or "", int(match[1])))
    return found


def dynamic_of(kernel: Kernel, terms: Terms) -> int | None:
    """Of one form: the most of what is told of it; None where nothing is, though it uses some."""
    told = terms.get(kernel.base)
    if told is None:
        return 0
    name = kernel.name.replace(" ", "")
    return max((size for text, size in told if text in name), default=None)


def machine_code_tables(
    inspected: dict[Path, tuple[list[Kernel], list[str]]],
) -> Iterator[tuple[str, str]]:
    """Names of files and their tables."""
    dynamic = dynamic_bytes()
    for source in sorted(inspected):
        head = ["kernel", "sm", "forms", "threads", "registers", "shared", "spills", *KINDS]
        rows = []
        for group in groups(inspected[source][0]):
            if "_wgmma" in group.name and group.arch == "80":
                continue  # empty there
            rows.append(list(kernel_row(group, [dynamic_of(k, dynamic) for k in group.kernels])))
        yield source.name, table([*head, "occupancy"], rows)


def tables_of(page: str) -> dict[str, str]:
    """What machine_code_tables made of a page that was written before."""
    parts = page.partition(PREDICTIONS)[0].split("\n### csrc/")[1:]
    return {Path(n).name: text.strip() for n, _, text in (part.partition("\n") for part in parts)}


def kernel_row(group: Group, dynamic: list[int | None]) -> Iterator[str]:
    """dynamic: bytes of each form."""
    kernels = group.kernels
    yield f"`{group.name}`"
    yield group.arch
    yield str(len(kernels))
    yield group.span(k.threads for k in kernels) if all(k.threads for k in kernels) else "?"
    yield group.span(k.registers for k in kernels)
    shared = group.span(k.shared + (d or 0) for k, d in zip(kernels, dynamic, strict=True))
    yield f"{shared} + ?" if None in dynamic else shared
    yield group.span(k.spills for k in kernels)
    for kind in KINDS:
        count = group.span(k.opcodes[kind] for k in kernels)
        yield "" if count == "0" else count
    yield occupancy_text(group, dynamic)


def occupancy_text(group: Group, dynamic: list[int | None]) -> str:
    """Of all forms: the least and the largest, and what limits the least."""
    if not all(k.threads for k in group.kernels):
        return "?"
    found = []
    for k, more in zip(group.kernels, dynamic, strict=True):
        if more is None:
            return "?"
        found.append(occupancy(k.arch, k.threads, k.registers, k.shared + more))
    worst, best = min(found, key=lambda o: o.fraction), max(o.fraction for o in found)
    span = f"{worst.fraction:.0%}" if worst.fraction == best else f"{worst.fraction:.0%}–{best:.0%}"
    return span if worst.fraction == 1 else f"{span} ({worst.limit})"


# -------------------------------------------------------------------- predictions


def prediction_tables() -> Iterator[str]:
    """One table a suite: what the roofline says for the networks' shapes, and what was measured."""
    from gpudl.bench import suites
    from gpudl.bench.workload import Scale, Workload

    found = measurements()
    for name in ("gemm", "conv", "pool", "norm", "softmax", "activation", "optimizer", "recurrent"):
        if name not in suites.NAMES:
            continue
        rows = []
        for work in suites.workloads(name, Scale("cuda", False)):
            if isinstance(work, Workload) and "batch 32" not in work.name:
                for dtype in ("float32", "bfloat16"):
                    entries = list(predictions(name, work, dtype, found))
                    if entries:
                        rows.append(prediction_row(work, dtype, entries))
        if rows:
            head = ["workload", "format", "kernel", "GFLOP", "MB", "bound by", "floor µs",
                    "reachable µs", "predicted µs"]  # fmt: skip
            measured = ["measured µs", "of the floor", "peer/ours"] if found else []
            yield f"\n### {name}\n"
            yield table(head + measured, [row[: len(head + measured)] for row in rows])


class Prediction(NamedTuple):
    """Of one direction, in seconds; `measured` is a row of results."""

    algorithm: str
    bound: str
    floor: float
    reachable: float
    predicted: float | None
    measured: Any


def prediction_row(work: Any, dtype: str, entries: list[Prediction]) -> list[str]:
    """Numbers of the directions beside each other."""
    cost = work.cost("forward", dtype)
    rows = [e.measured for e in entries]
    seconds = [row["seconds"]["gpudl"]["median"] if row else None for row in rows]
    shares = [e.floor / s if s else None for e, s in zip(entries, seconds, strict=True)]
    ratios = [row["ratio"]["median"] if row and "ratio" in row else None for row in rows]
    return [
        work.name,
        f"{dtype} highest" if dtype == "float32" else dtype,
        " / ".join(dict.fromkeys(e.algorithm for e in entries)),
        number(cost.flops / 1e9),
        number(cost.bytes / 1e6),
        " / ".join(dict.fromkeys(e.bound for e in entries)),
        joined([e.floor for e in entries], microseconds),
        joined([e.reachable for e in entries], microseconds),
        joined([e.predicted for e in entries], microseconds),
        joined(seconds, microseconds),
        joined(shares, "{:.0%}".format),
        joined(ratios, "{:.2f}".format),
    ]


def joined(values: list[float | None], text: Callable[[float], str]) -> str:
    return " / ".join("–" if v is None else text(v) for v in values)


def microseconds(seconds: float) -> str:
    return number(seconds * 1e6)


def number(value: float) -> str:
    """Three significant digits, without exponents where there are thousands."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def predictions(
    suite: str, work: Any, dtype: str, found: dict[tuple[str, ...], Any]
) -> Iterator[Prediction]:
    from gpudl.core.machine import H100

    nominal = H100._replace(launch=0)
    reached = nominal._replace(
        flops={k: v * REACHED_FLOPS for k, v in H100.flops.items()}, bandwidth=REACHED_BANDWIDTH
    )
    for direction in work.directions:
        algorithm = algorithm_on_cuda(work, direction, dtype)
        if algorithm is None:
            return
        cost = work.cost(direction, dtype)
        floor = nominal.roofline(algorithm, cost.flops, cost.bytes)
        yield Prediction(
            algorithm,
            "memory" if cost.bytes / nominal.bandwidth >= floor else "arithmetic",
            floor,
            reached.roofline(algorithm, cost.flops, cost.bytes),
            predict(work, direction, algorithm, dtype),
            found.get((suite, work.name, direction, dtype, "highest", "")),
        )


def algorithm_on_cuda(work: Any, direction: str, dtype: str) -> str | None:
    """The kernel that an H100 would run; None where none takes the inputs."""
    from gpudl.core.machine import H100
    from gpudl.devices.find import device

    op, specs = work.op, work.specs(dtype)
    emulator: Any = device("emulator")  # has the same kernels
    kind = direction.split()[0]
    known = emulator.algorithms(op, kind)
    try:
        preferred = op.prefer(H100, kind, "highest", known, *specs)
        return next((a for a in preferred if emulator.takes(op, kind, a, specs)), None)
    except (TypeError, ValueError):
        return None


def predict(work: Any, direction: str, algorithm: str, dtype: str) -> float | None:
    """What the operator itself predicts, tiles and waves included; of all gradients only together,
    so not of one of them."""
    from gpudl.core.machine import H100

    if direction not in ("forward", "backward"):
        return None
    return float(work.op.predict(H100, direction, algorithm, *work.specs(dtype)))


def measurements() -> dict[tuple[str, ...], Any]:
    """Rows of the newest results of a GPU, by what they measure."""
    from gpudl.bench.compare import key

    found: dict[tuple[str, ...], Any] = {}
    for path in sorted(RESULTS.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if str(report["environment"].get("device", "")).startswith("cuda"):
            found.update({key(row): row for row in report.get("rows", ())})
    return found


# -------------------------------------------------------------------- the page

HEAD = """# Kernels

Generated by `make kernels` from the machine code, the operators' declarations and, where there are
any, the measurements on a GPU under bench/results; never edited by hand.

## Machine code

Of each kernel, compiled for sm_80 and sm_90a: how many forms it has (template instances), threads a
block (`__launch_bounds__`), registers a thread, bytes of shared memory (dynamic included), bytes of
spills, how many instructions of a kind stand in the code (HGMMA: wgmma; HMMA: mma.sync; FFMA:
float32 multiply-add; LDG, STG: global memory; LDS: shared memory; LDGSTS: cp.async; UTMALDG: TMA),
and how many warps fit a multiprocessor at most, with what limits them. A span is the least and the
largest of the forms.
"""

PREDICTIONS = """
## What to expect on an H100

No measurements: calculations from each operator's operations and fewest bytes (`Op.cost`). The
*floor* divides them by the data sheet's rates (dense bfloat16 989 TFLOP/s, TF32 495, float32 67;
3.35 TB/s; split float32 counts its several products, mma.sync reaches 62 % of wgmma). *Reachable*
divides by what libraries reach there (798 TFLOP/s bfloat16 at 8192³, the other formats in
proportion, 3.0 TB/s). *Predicted* is the operator's own estimate for the kernel that it would
choose, with tiles, waves and launches where it declares them (`Op.predict`). Where several numbers
stand beside each other they are of forward and of the gradients, in the order x, weight; GFLOP and
MB are of forward.
"""


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(chosen: list[Path]) -> str:
    """chosen: the files to look at; the tables of others are taken over. All if there are none."""
    sources = machine_code.kernel_files()
    tables = tables_of(PAGE.read_text(encoding="utf-8")) if chosen else {}
    tables |= dict(machine_code_tables(machine_code.inspect_all(chosen or sources)))
    parts = [HEAD]
    for source in (s for s in sources if s.name in tables):
        parts += [f"\n### {source.relative_to(ROOT)}\n", tables[source.name]]
    return "\n".join([*parts, PREDICTIONS, *prediction_tables()]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compile nothing, write nothing")
    parser.add_argument("files", nargs="*", type=Path, help="to look at alone")
    options = parser.parse_args()
    if not options.check:
        PAGE.write_text(page([file.resolve() for file in options.files]), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    absent = missing(PAGE.read_text(encoding="utf-8"))
    if absent:
        print(f"docs/kernels.md lacks {', '.join(absent)}: make kernels", file=sys.stderr)
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
