"""Train models on real data and write pages with pictures and tables.

examples:
  gpudl zoo                      list the pages
  gpudl zoo lenet5 autoencoders
  gpudl zoo all --quick
"""

from __future__ import annotations

import argparse
from typing import Any

from gpudl.cli.arguments import add_device, choose_device, filled, natural
from gpudl.cli.table import table


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="page names, or all")
    parser.add_argument(
        "--quick", action="store_true", help="run a few steps on little data, as a test"
    )
    parser.add_argument(
        "--out",
        type=filled,
        default="runs/zoo",
        metavar="DIR",
        help="output folder (default: runs/zoo)",
    )
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="random seed (default: 0)"
    )
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    from gpudl import zoo

    if not options.pages:
        pages = [zoo.info(name) for name in zoo.names()]
        rows = [(page.name, page.title, f"{page.minutes:g}") for page in pages]
        print(table(("page", "title", "minutes"), rows, right=(2,)))
        return 0
    device = choose_device(options.device)
    names = zoo.names() if options.pages == ["all"] else options.pages
    for name in names:
        zoo.info(name)  # refuse a wrong name before spending minutes on the first page
    failed = 0
    for name in names:
        record = zoo.write(name, options.out, options.quick, options.seed, device)
        print(f"{options.out}/{name}.md, {record['processor_seconds']:,} s")
        for check in record["checks"]:
            print(f"  {verdict(check, options.quick)}: {check['claim']}, {check['measured']}")
            failed += not check["holds"] and not options.quick
    zoo.write_index(options.out)
    return 1 if failed else 0


def verdict(check: dict[str, Any], quick: bool) -> str:
    """The verdict on a claim. A quick run gives none, because it trains too little."""
    if quick:
        return "not judged"
    return "holds" if check["holds"] else "FAILS"
