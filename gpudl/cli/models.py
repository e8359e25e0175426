"""List the models: parameters, multiply-adds of one input, usual data set, source."""

from __future__ import annotations

import argparse

from gpudl.cli.table import table


def add(parser: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> int:
    from gpudl import models

    rows = []
    for name in models.names():
        info = models.info(name)
        found = info.summary()
        shape = "×".join(map(str, info.input_shape))
        source = f"{info.source} {info.year or ''}".strip()
        size, work = f"{found.parameters:,}", f"{found.multiply_adds:,}"
        rows.append((name, size, work, shape, info.dataset, info.description, source))
    head = ("model", "parameters", "multiply-adds", "input", "data", "description", "source")
    print(table(head, rows, right=(1, 2)))
    return 0
