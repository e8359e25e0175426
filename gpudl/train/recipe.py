"""Recipes: files that describe full training runs, with expected and measured results.

`gpudl train --recipe NAME` reads gpudl/models/recipes/NAME.json or the user's own file.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gpudl import models
from gpudl.core.files import expanded, read_json
from gpudl.train.config import Training, from_table
from gpudl.train.errors import TrainingError

FOLDER = Path(models.__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """One recipe. training: fields of Training. options: arguments of the model's function.
    expect: the expected result, in words. measured: the result and the machine; None if it has not
    been run."""

    name: str
    model: str
    data: str
    training: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    expect: str = ""
    measured: str | None = None


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_recipe(name: str) -> Recipe:
    """A recipe by its name, or by the path of a .json file.

    Raises TrainingError for an unknown name and for a file that is not a recipe.
    """
    if name in recipe_names():
        return _read(FOLDER / f"{name}.json")
    if name.endswith(".json"):
        return _read(expanded(name))
    near = difflib.get_close_matches(name, recipe_names(), 1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(recipe_names())};"
    raise TrainingError(f"--recipe: {name!r} is unknown; {hint} or give the path of a .json file")


def _read(path: Path) -> Recipe:
    try:
        values = read_json(path)
        if not isinstance(values, dict):
            raise ValueError("it is not a table of names and values")
        recipe: Recipe = from_table(Recipe, {"name": path.stem, **values})
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be read ({error.strerror or error}); check the path"
        ) from None
    except (ValueError, TypeError) as error:
        raise TrainingError(
            f"{path}: is not a recipe ({error}); see the examples in {FOLDER}"
        ) from None
    known = {entry.name for entry in fields(Training)}
    if unknown := sorted(set(recipe.training) - known):
        raise TrainingError(
            f"{path}: training has the unknown field {unknown[0]!r}; "
            f"known are {', '.join(sorted(known))}"
        )
    try:
        from_table(Training, recipe.training)
    except ValueError as error:
        raise TrainingError(f"{path}: training has {error}") from None
    return recipe
