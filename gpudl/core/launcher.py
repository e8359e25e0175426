"""Describes launchers, the C++ functions that run an algorithm's kernels. GPUDL_EXPORT declares
all of this next to the launcher's source (csrc/core/export.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Parameter(NamedTuple):
    """One argument. kind: "array", "int", "float", "bool", "pair" or "triple"; the rest describes
    arrays. rank: -1 for any. layout: "nchw", "nhwc", "rows", or "any", the same for all arguments.
    """

    name: str
    kind: str
    dtype: str
    rank: int
    layout: str
    writable: bool
    optional: bool


class Computes(NamedTuple):
    """How products are computed. numbers: the format of what is multiplied: "float32", "tf32",
    "bfloat16" or "float16". unit: "simt" (CUDA cores), "mma" or "wgmma" (tensor cores). products:
    of such numbers, for one of float32 numbers that are split into parts. fewest: summands; shorter
    sums are computed in float32 on CUDA cores.
    """

    numbers: str = "float32"
    unit: str = "simt"
    products: int = 1
    fewest: int = 0

    @property
    def rounds(self) -> str:
        """The format that operands are rounded to; split ones keep their float32."""
        return self.numbers if self.products == 1 else "float32"

    def of_sum(self, length: int) -> Computes:
        return self if length >= self.fewest else Computes()


class Launcher(NamedTuple):
    """file, line: where it is exported, as a path from the root of the repository. run: the
    function, whose positional arguments are the parameters. workspace: from the same arguments,
    with None in its own place, how many float32 elements the argument `workspace` must have; None
    where there is no such argument. module: the extension module that it is part of."""

    op: str
    direction: str
    algorithm: str
    file: str
    line: int
    computes: Computes
    parameters: tuple[Parameter, ...]
    run: Callable[..., Any]
    workspace: Callable[..., int] | None
    module: Any

    @property
    def name(self) -> str:
        return f"{self.op}_{self.direction}_{self.algorithm}"


Launchers = tuple[Launcher, ...]
