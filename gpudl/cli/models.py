"""List the models: parameters, input and usual data set."""

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
        parameters = sum(p.numel() for p in models.create(name).parameters())
        shape = "×".join(map(str, info.input_shape))
        rows.append((name, f"{parameters:,}", shape, info.dataset, info.description))
    print(table(("model", "parameters", "input", "data", "description"), rows, right=(1,)))
    return 0
