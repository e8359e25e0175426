"""The registry of models: each is a function decorated with `@register`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gpudl.devices.find import meta
from gpudl.nn.model_summary import Summary, summary
from gpudl.nn.module import Module

B = TypeVar("B", bound=Callable[..., Module])
OF_CODES = ("language", "text-classification")  # tasks whose models take integers


class Info(NamedTuple):
    """build(num_classes=…, in_channels=…, …) creates the model. input_shape: of one sample, (C, H,
    W) for images. source, year: of the publication. training: settings of `gpudl train` that differ
    from its defaults, with the names of `gpudl.train.Training`. task: a name of
    `gpudl.train.tasks`. classes: the classes of the data set to use, by label or name, relabelled
    0, 1, … in this order; () for all."""

    name: str
    build: Callable[..., Module]
    input_shape: tuple[int, ...]
    dataset: str
    description: str
    source: str
    year: int | None
    training: Mapping[str, Any]
    task: str = "classification"
    classes: tuple[int | str, ...] = ()

    def summary(self, **options: Any) -> Summary:
        """Parameters and multiply-adds for one sample, computed on the meta device."""
        with meta:
            dtype = np.int64 if self.task in OF_CODES else np.float32
            return summary(self.build(**options), (1, *self.input_shape), dtype)


_MODELS: dict[str, Info] = {}


def register(
    input_shape: tuple[int, ...],
    dataset: str,
    source: str,
    year: int | None = None,
    training: Mapping[str, Any] | None = None,
    task: str = "classification",
    classes: tuple[int | str, ...] = (),
) -> Callable[[B], B]:
    """Register a function that builds a model under its name; the first line of its docstring is
    the description.

    dataset: the default data set for training. source: the authors, and where they published it.
    See Info for the rest.
    """

    def mark(build: B) -> B:
        description = (build.__doc__ or "").strip().partition("\n")[0]
        name, settings = build.__name__, training or {}
        _MODELS[name] = Info(
            name, build, input_shape, dataset, description, source, year, settings, task, classes
        )
        return build

    return mark


def names() -> list[str]:
    """The names of all registered models, sorted."""
    return sorted(_MODELS)


def info(name: str) -> Info:
    """The entry of a model. Raises KeyError with the nearest names if it is unknown."""
    if name not in _MODELS:
        typed = name.lower().replace("-", "_")
        near = difflib.get_close_matches(typed, _MODELS, 1)
        near = near or [known for known in names() if typed and typed in known]
        suggestions = " or ".join(map(repr, near))
        hint = f"did you mean {suggestions}" if near else f"it must be one of {', '.join(names())}"
        raise KeyError(f"unknown model {name!r}; {hint}")
    return _MODELS[name]


def create(name: str, **options: Any) -> Module:
    """Build a model by name, with the options of its function."""
    return info(name).build(**options)
