"""What pages say of the longer trainings that come as recipes."""

from __future__ import annotations

from gpudl.train.recipe import read_recipe
from gpudl.zoo.page import Page


def recipe_table(page: Page, *names: str) -> None:
    """The recipes' passes, what they should reach, and what has been measured of them."""
    rows = []
    for name in names:
        recipe = read_recipe(name)
        passes, measured = recipe.training["epochs"], recipe.measured or "not yet"
        rows.append((f"`{name}`", passes, recipe.expect, measured))
    caption = "Longer trainings; the numbers above are not theirs"
    page.table(("`gpudl train --recipe`", "passes", "should reach", "measured"), rows, caption)
