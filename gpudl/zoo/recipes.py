"""The table of longer training runs, which are available as recipes."""

from __future__ import annotations

from gpudl.train.recipe import read_recipe
from gpudl.zoo.page import Page


def recipe_table(page: Page, *names: str) -> None:
    """Add a table of recipes: epochs, expected and measured results."""
    rows = []
    for name in names:
        recipe = read_recipe(name)
        passes, measured = recipe.training["epochs"], recipe.measured or "not yet"
        rows.append((f"`{name}`", passes, recipe.expect, measured))
    caption = "Longer training runs; the results above are not from these"
    page.table(("`gpudl train --recipe`", "epochs", "expected", "measured"), rows, caption)
