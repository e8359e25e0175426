"""Functions over one, two or three spatial axes, such as max_pool1d, 2d and 3d: written once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from gpudl.core.public import public

P = ParamSpec("P")
R = TypeVar("R")

SHAPES = {1: "(N, C, W)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}


def of_rank(function: Callable[Concatenate[int, P], R], rank: int) -> Callable[P, R]:
    """The public function of one rank."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(rank, *args, **kwargs)

    made: Any = call
    name = function.__name__.removeprefix("_")
    made.__name__ = made.__qualname__ = f"{name}{rank}d"
    made.__module__ = function.__module__
    made.__doc__ = function.__doc__ if rank == 2 else f"{name}2d for {SHAPES[rank]}, or without N."
    made.__wrapped__ = partial(function, rank)  # its signature is what help() shows
    return public("functional")(call)


def each_rank(
    function: Callable[Concatenate[int, P], R],
) -> tuple[Callable[P, R], Callable[P, R], Callable[P, R]]:
    """Of `_name(rank, input, …)` the public functions name1d, name2d and name3d; its docstring
    describes name2d."""
    return of_rank(function, 1), of_rank(function, 2), of_rank(function, 3)
