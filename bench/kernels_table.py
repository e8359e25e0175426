"""Writes build/kernels.md, the machine code of all kernels, and the tables of docs/kernels.md.

    python bench/kernels_table.py [--check | --predictions] [csrc/ops/conv/conv_direct.cu ...]

Compiles all kernels for sm_80 and sm_90a (files that have not changed are not compiled again) and
reads the machine code. Needs the emulator module, which knows the inputs that each kernel accepts.
If files are named, only these are compiled; their tables are printed and nothing is written.
--check only checks that docs/kernels.md is up to date, and --predictions only updates the
predictions in it; neither compiles anything.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "cmake")]

import machine_code  # noqa: E402

from bench import machine_rows, predictions  # noqa: E402
from bench.machine_rows import Inspected  # noqa: E402

PAGE = ROOT / "docs" / "kernels.md"
EVERYTHING = ROOT / "build" / "kernels.md"
CODE, EXPECTED = "machine code", "predictions"  # the generated blocks of the page

HEAD = """# All kernels

Written by `make kernels`; docs/kernels.md says how to read it.

## Machine code
"""


def block(page: str, name: str) -> str:
    """The text between a generated block's markers."""
    return _markers(name).search(page)[2].strip()  # type: ignore[index]


def replaced(page: str, name: str, text: str) -> str:
    return _markers(name).sub(lambda match: f"{match[1]}\n{text}\n{match[3]}", page)


def _markers(name: str) -> re.Pattern[str]:
    return re.compile(f"(<!-- {name}: make kernels -->)(.*?)(<!-- end -->)", re.DOTALL)


def outdated(page: str) -> Iterator[str]:
    """The outdated parts of the page, except numbers that only compiling would show."""
    rows = [line.strip("| ").split(" | ") for line in block(page, CODE).splitlines()[2:]]
    written = {row[0]: row[1] for row in rows}
    defined = {
        f"`csrc/{file}`": machine_rows.names_text(names)
        for file, names in machine_rows.kernels_in_source().items()
    }
    yield from (f"the kernels of {n}" for n in defined if written.get(n) != defined[n])
    yield from (f"{name}, which defines no kernel" for name in written.keys() - defined.keys())
    if block(page, EXPECTED) != predictions.headlines():
        yield "the predictions"


def everything(inspected: Inspected) -> str:
    terms = machine_rows.dynamic_bytes()
    parts = [HEAD]
    for source, (kernels, _) in inspected.items():
        parts += [f"\n### {source.relative_to(ROOT)}\n", machine_rows.file_table(kernels, terms)]
    return "\n".join([*parts, "\n## Predictions for an H100", *predictions.every_table()]) + "\n"


def write() -> None:
    inspected = machine_code.inspect_all(machine_code.kernel_files())
    EVERYTHING.parent.mkdir(exist_ok=True)
    EVERYTHING.write_text(everything(inspected), encoding="utf-8")
    print(f"wrote {EVERYTHING.relative_to(ROOT)}")
    update(CODE, machine_rows.summary_table(inspected, machine_rows.dynamic_bytes()))
    update(EXPECTED, predictions.headlines())


def update(name: str, text: str) -> None:
    """Writes one generated block of the page."""
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), name, text), encoding="utf-8")
    print(f"wrote the {name} in {PAGE.relative_to(ROOT)}")


def show(sources: list[Path]) -> None:
    terms = machine_rows.dynamic_bytes()
    for source, (kernels, _) in machine_code.inspect_all(sources).items():
        print(f"\n{source.relative_to(ROOT)}\n\n{machine_rows.file_table(kernels, terms)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compile nothing, write nothing")
    what.add_argument("--predictions", action="store_true", help="write only these")
    parser.add_argument("files", nargs="*", type=Path, help="print the tables of these only")
    options = parser.parse_args()
    if options.files:
        show([file.resolve() for file in options.files])
        return 0
    if options.predictions:
        update(EXPECTED, predictions.headlines())
    elif not options.check:
        write()
    stale = list(outdated(PAGE.read_text(encoding="utf-8")))
    if stale:
        print(
            f"docs/kernels.md is out of date: {'; '.join(stale)}; run make kernels", file=sys.stderr
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
