"""Registers public functions as gpudl.f, Tensor.f and gpudl.nn.functional.f; types that many of
them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Public(NamedTuple):
    function: Callable[..., Any]
    places: tuple[str, ...]
    names: tuple[str, ...]


PUBLIC: list[Public] = []
PLACES = ("gpudl", "Tensor", "functional")


def public(*places: str, names: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Register a function in places ("gpudl", "Tensor", "functional": gpudl.nn.functional), under
    its own name or under `names`."""
    unknown = set(places) - set(PLACES)
    if unknown:
        raise ValueError(f"public: unknown places {sorted(unknown)}; they are {PLACES}")

    def mark(function: F) -> F:
        PUBLIC.append(Public(function, places, names or (function.__name__,)))
        return function

    return mark


Number = bool | int | float
Dim = int | Sequence[int] | None  # axes of a reduction, None for all


class Sorted(NamedTuple):
    """Sorted elements and their original indices, both Tensors."""

    values: Any
    indices: Any
