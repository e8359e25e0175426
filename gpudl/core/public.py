"""Registers public functions as gpudl.f, Tensor.f and gpudl.nn.functional.f; types that many of
them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from gpudl.core.refuse import foreign_argument

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")  # Tensor, which is above this module


class Public(NamedTuple):
    function: Callable[..., Any]
    places: tuple[str, ...]
    special: tuple[str, ...]


PUBLIC: list[Public] = []
PLACES = ("gpudl", "Tensor", "functional")


def public(*places: str, special: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Register a function under its own name in places ("gpudl", "Tensor", "functional":
    gpudl.nn.functional), and as these special methods of Tensor ("__add__")."""
    unknown = set(places) - set(PLACES)
    if unknown:
        raise ValueError(f"public: unknown places {sorted(unknown)}; they are {PLACES}")

    def mark(function: F) -> F:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except (AttributeError, TypeError) as error:
                if refused := foreign_argument(function, args, kwargs):
                    raise refused from error
                raise

        PUBLIC.append(Public(call, places, special))
        return cast(F, call)

    return mark


def functions(place: str) -> dict[str, Callable[..., Any]]:
    """The functions of a place by name; those of "Tensor" with the special methods."""
    offered = {e.function.__name__: e.function for e in PUBLIC if place in e.places}
    if place == "Tensor":
        offered |= {name: e.function for e in PUBLIC for name in e.special}
    return offered


Number = bool | int | float
Dim = int | Sequence[int] | None  # axes of a reduction, None for all


if TYPE_CHECKING:

    class ValuesAndIndices(NamedTuple, Generic[T]):
        values: T
        indices: T

else:  # a generic named tuple needs Python 3.11

    class ValuesAndIndices(NamedTuple):
        """Elements that were found along an axis, and their indices there; both are Tensors."""

        values: Any
        indices: Any
