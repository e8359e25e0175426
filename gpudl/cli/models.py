"""List the models: parameters, multiply-adds per input, default data set, year and source.

With a name: shows that model layer by layer, and its options.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from typing import TYPE_CHECKING, Any

from gpudl.cli.errors import CommandError
from gpudl.cli.table import table
from gpudl.core.terminal import columns, wrapped

if TYPE_CHECKING:
    from gpudl.models import Info


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="show its layers and options")
    parser.add_argument(
        "--recipes", action="store_true", help="list the recipes (full training runs) instead"
    )


def run(options: argparse.Namespace) -> int:
    if options.model is not None and options.recipes:
        raise CommandError(f"models: give {options.model} or --recipes, not both")
    if options.model is not None:
        print(_model(options.model))
    else:
        print(_recipes() if options.recipes else _models())
    return 0


def _model(name: str) -> str:
    from gpudl.train.prepare import find_model

    info = find_model(name)
    known = inspect.signature(info.build).parameters.values()
    settings = ", ".join(f"{key} {value}" for key, value in info.training.items())
    dated = info.year is None or str(info.year) in info.source
    published = info.source if dated else f"{info.source}, {info.year}"
    facts = [
        f"{info.name}: {info.description}",
        f"source: {published}",
        f"trained on: {_data(info)} for {info.task}; {settings or 'default settings'}",
        f"options: {', '.join(f'{p.name}={p.default!r}' for p in known) or 'none'}",
    ]
    width = columns(sys.stdout)
    return "\n".join([*(wrapped(fact, width, "  ") for fact in facts), "", str(info.summary())])


def _data(info: Info) -> str:
    """The default data set, with the classes used unless all are."""
    classes = ", ".join(map(str, info.classes))
    return f"{info.dataset} ({classes})" if classes else info.dataset


def _recipes() -> str:
    from gpudl.train.recipe import read_recipe, recipe_names

    recipes = [read_recipe(name) for name in recipe_names()]
    rows = [
        (r.name, r.model, r.data, str(r.training.get("epochs", "")), r.expect, r.measured or "")
        for r in recipes
    ]
    head = ("recipe", "model", "data", "epochs", "expected", "measured")
    return _listed(head, rows, right=(3,), needed=1, more="gpudl train --recipe NAME trains one")


def _models() -> str:
    from gpudl import models

    rows = []
    for name in models.names():
        info = models.info(name)
        summary = info.summary()
        shape = "×".join(map(str, info.input_shape))
        year = str(info.year or "")
        size, work = f"{summary.parameters:,}", f"{summary.multiply_adds:,}"
        rows.append((name, size, work, shape, _data(info), year, info.description, info.source))
    head = ("model", "parameters", "multiply-adds", "input", "data", "year", "description")
    more = "gpudl models NAME shows one layer by layer"
    return _listed((*head, "source"), rows, right=(1, 2), needed=1, more=more)


def _listed(head: tuple[str, ...], rows: list[Any], more: str, **options: Any) -> str:
    """The table and, if it lacks columns, a line that says so."""
    text = table(head, rows, **options)
    absent = [name for name in head if name not in text.split("\n", 1)[0]]
    if not absent:
        return text
    note = f"{more}; a wider terminal also shows {', '.join(absent)}"
    return f"{text}\n\n{wrapped(note, columns(sys.stdout))}"
