"""Time suites of workloads against PyTorch, or compare two reports.

examples:
  gpudl bench gemm conv --quick       a selection of two suites
  gpudl bench all --out results       all suites, into a folder; long
  gpudl bench show a.json             print a report; --markdown: means by suite
  gpudl bench compare a.json b.json   changes beyond the noise
  gpudl bench tune gemm --device cuda  remember the fastest kernels

Suites: activation, conv, copy, gemm, kernels (every operator by itself), norm, optimizer, pool,
rbm, recurrent, softmax, step (whole training steps; the default).

Each row is the median of alternating measurements (ours, PyTorch's, ours, ...) with the same number
of threads. peer/ours above 1 means that gpudl is faster; roof is the fraction of the roofline given
by a copy and a matrix product in the same run; error is relative to float64.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import time
from pathlib import Path
from typing import Any

from gpudl.cli.arguments import add_device, choose_device, positive
from gpudl.cli.errors import CommandError
from gpudl.core.terminal import columns, say, wrapped

PRECISIONS = ("highest", "high", "medium")
ABOVE = 1.1  # times the measured ceilings: more than noise
BETWEEN_WRITES = 10.0  # seconds; a run that fails loses no more than this
DTYPES = ("float32", "bfloat16", "float16")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="SUITE|tune SUITE|show A.json|compare A.json B.json"
    )
    add_device(parser)
    parser.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="CPU threads (default: 1)"
    )
    parser.add_argument(
        "--dtype",
        type=listed(DTYPES),
        metavar="D,D",
        help="number formats (default: float32; on cuda also bfloat16)",
    )
    parser.add_argument(
        "--precision",
        type=listed(PRECISIONS),
        default=("highest",),
        metavar="P,P",
        help="precision of float32 products: highest,high,medium (default: highest)",
    )
    parser.add_argument(
        "--only",
        type=pattern,
        metavar="REGEX",
        help="only rows whose 'suite/name direction' matches",
    )
    parser.add_argument(
        "--algorithms",
        choices=("chosen", "all"),
        default="chosen",
        help="the chosen kernel, or all that can run (default: chosen)",
    )
    parser.add_argument("--quick", action="store_true", help="a short run of selected rows")
    parser.add_argument(
        "--sustained",
        type=float,
        metavar="SECONDS",
        help="also time runs of this length without a pause (default: 2; 0 with --quick)",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="start no new row of a suite after this time",
    )
    parser.add_argument("--compile", action="store_true", help="also time torch.compile")
    parser.add_argument("--no-peer", action="store_true", help="do not time PyTorch")
    parser.add_argument(
        "--out", metavar="FILE.json|DIR", help="write the results here, with versions and date"
    )
    parser.add_argument("--plots", metavar="DIR", help="draw roofline and ratios here")
    parser.add_argument("--markdown", action="store_true", help="with show: a Markdown table")
    comparing = parser.add_argument_group("compare")
    comparing.add_argument(
        "--by",
        choices=("time", "ratio"),
        help="compare our time, or its ratio to PyTorch's (default: ratio on cpu, time on cuda)",
    )
    comparing.add_argument(
        "--fail-above",
        type=float,
        metavar="PERCENT",
        help="exit code 1 if a row is slower by more than this, beyond the noise",
    )
    comparing.add_argument(
        "--any-device", action="store_true", help="allow reports from different devices"
    )


def run(options: argparse.Namespace) -> int:
    words: list[str] = options.words
    if words[:1] == ["show"]:
        return run_show(words[1:], options)
    if words[:1] == ["compare"]:
        return run_compare(words[1:], options)
    if words[:1] == ["tune"]:
        return run_tune(words[1:], options)
    return run_suites(chosen_suites(words), options)


def chosen_suites(words: list[str]) -> tuple[str, ...]:
    from gpudl.bench.suites import NAMES

    if words == ["all"]:
        return NAMES
    for word in words:
        if word not in NAMES:
            near = difflib.get_close_matches(word, [*NAMES, "compare", "show", "tune"], 1)
            hint = f"did you mean {near[0]}? Suites" if near else "suites"
            raise CommandError(f"bench: {word!r} is not a suite; {hint} are {', '.join(NAMES)}")
    return tuple(dict.fromkeys(words)) or ("step",)


def run_tune(words: list[str], options: argparse.Namespace) -> int:
    """Run the suites with tuning on; `gpudl.tune()` uses the stored measurements."""
    from gpudl.core.choice import choices, tune
    from gpudl.devices.find import NativeDevice
    from gpudl.devices.find import device as find_device

    device = find_device(choose_device(options.device))
    if not isinstance(device, NativeDevice):
        raise CommandError("bench tune: the cpu has no kernels to choose from; add --device cuda")
    options.no_peer, options.quick = True, True
    with tune():
        code = run_suites(chosen_suites(words), options)
    count = len(choices.measurements(device.place))
    print(f"measurements of {count} problems: {choices.file(device.place)}")
    return code


def run_suites(names: tuple[str, ...], options: argparse.Namespace) -> int:
    from gpudl.bench import theirs

    if not options.no_peer:
        theirs.load(options.threads)
    from gpudl.bench import environment, report, suites
    from gpudl.bench.facts import load as machine_load
    from gpudl.bench.runner import Bench, Settings
    from gpudl.bench.workload import Scale

    device = choose_device(options.device)
    kind = device.partition(":")[0]
    quick_or = 0.0 if options.quick or kind == "emulator" else 2.0
    settings = Settings(
        device=device,
        threads=options.threads,
        dtypes=options.dtype or (("float32", "bfloat16") if kind == "cuda" else ("float32",)),
        precisions=options.precision,
        algorithms=options.algorithms,
        only=options.only,
        quick=options.quick,
        sustained=quick_or if options.sustained is None else options.sustained,
        budget=options.budget,
        turns=7 if options.quick else 15,
        peer=not options.no_peer,
        compile=options.compile,
    )
    load = machine_load()  # of other processes, before ours begins
    bench = Bench(settings)
    env = {**environment(device, bench.torch), "load": load}
    rows: list[dict[str, Any]] = []
    out = report.destination(Path(options.out), device, names) if options.out else None
    if bench.torch is None and not options.no_peer:
        say("PyTorch is not installed, so nothing is compared: pip install torch")
    width = columns(sys.stdout)
    print(report.head(width), flush=True)
    try:
        written = time.monotonic()
        for name in names:
            for row in bench.suite(name, suites.workloads(name, Scale(kind, options.quick))):
                rows.append(row)
                print(report.line(row, width), flush=True)
                if out and time.monotonic() - written > BETWEEN_WRITES:
                    report.write(out, report.report(bench, rows, env))
                    written = time.monotonic()
    finally:
        finish(report.report(bench, rows, env), out, options.plots)
    return 0 if rows else 1


def finish(content: dict[str, Any], out: Path | None, plots: str | None) -> None:
    """Print the lines below the table and write the files."""
    from gpudl.bench import report

    if content["summary"]:
        print(f"\npeer/ours, geometric means\n{report.summary_text(content['summary'])}")
    ceilings = content["ceilings"]
    flops = ", ".join(f"{name} {value:g} TFLOP/s" for name, value in ceilings["tflops"].items())
    copied = f"copy {ceilings['gbytes_per_second']:g} GB/s"
    say(f"measured ceilings: {copied}; {flops or 'no products'}")
    passed = [row["name"] for row in content["rows"] if row.get("roofline", 0) > ABOVE]
    if passed:
        say(
            f"faster than the measured ceilings allow: {len(passed)} rows, such as {passed[0]}; "
            "the machine was slower while they were measured, so do not trust the column roof"
        )
    if content["left_out"]:
        first = content["left_out"][0]
        say(f"left out: {len(content['left_out'])}, such as {first['workload']}: {first['reason']}")
    if out:
        report.write(out, content)
        print(f"wrote {out}")
    if plots and content["rows"]:
        from gpudl.bench import plots as pictures

        try:
            for path in pictures.draw(content, Path(plots)):
                print(f"wrote {path}")
        except ImportError as error:  # the measurements are kept
            print(f"no pictures: {error}; to draw them, pip install 'gpudl[train]'")


def run_show(files: list[str], options: argparse.Namespace) -> int:
    from gpudl.bench import report

    if not files:
        raise CommandError("bench show: give a file, as in gpudl bench show results.json")
    for file in files:
        print(report.shown(Path(file), options.markdown, columns(sys.stdout)))
    return 0


def run_compare(files: list[str], options: argparse.Namespace) -> int:
    from gpudl.bench import compare

    if len(files) != 2:
        raise CommandError(
            "bench compare: give two files, as in gpudl bench compare before.json after.json"
        )
    before, after = (compare.read(Path(file)) for file in files)
    if not options.any_device:
        compare.check_same_device(before, after)
    changes = compare.changes(before, after, options.by)
    print(
        wrapped(compare.text(changes, *compare.missing(before, after)), columns(sys.stdout), "  ")
    )
    if options.fail_above is None:
        return 0
    limit = 1 + options.fail_above / 100
    return 1 if any(c.verdict == "slower" and c.factor > limit for c in changes) else 0


def listed(known: tuple[str, ...]) -> Any:
    """A type for argparse: words of `known`, separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(text.split(","))
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is not one of {', '.join(known)}")
        return words

    return parse


def pattern(text: str) -> str:
    """A regular expression, for argparse."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None
    return text
