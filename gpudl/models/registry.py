"""Which models there are: each is a function with `@register`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from gpudl.nn.module import Module

B = TypeVar("B", bound=Callable[..., Module])


class Info(NamedTuple):
    """build(num_classes=…, in_channels=…, …) makes the model; input_shape is (C, H, W) of one
    image."""

    name: str
    build: Callable[..., Module]
    input_shape: tuple[int, ...]
    dataset: str
    description: str


_MODELS: dict[str, Info] = {}


def register(input_shape: tuple[int, ...], dataset: str) -> Callable[[B], B]:
    """Offer a function that builds a model under its name. dataset: what it is trained on by
    default."""

    def mark(build: B) -> B:
        description = (build.__doc__ or "").strip().partition("\n")[0]
        _MODELS[build.__name__] = Info(build.__name__, build, input_shape, dataset, description)
        return build

    return mark


def names() -> list[str]:
    return sorted(_MODELS)


def info(name: str) -> Info:
    """Raises KeyError that suggests the nearest name."""
    if name not in _MODELS:
        near = difflib.get_close_matches(name, _MODELS, 1)
        hint = f"did you mean {near[0]!r}" if near else f"it must be one of {', '.join(names())}"
        raise KeyError(f"unknown model {name!r}; {hint}")
    return _MODELS[name]


def create(name: str, **options: Any) -> Module:
    """Build a model by name; options go to its function."""
    return info(name).build(**options)
