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
    """How products are computed. numbers: the format of the factors: "float32", "tf32", "bfloat16"
    or "float16". unit: "simt" (CUDA cores), "mma" or "wgmma" (tensor cores). products: the number
    of such products per product of float32 numbers, which are split into parts if it is above 1.
    fewest: the minimum length of sums; shorter ones are computed in float32 on CUDA cores.
    """

    numbers: str = "float32"
    unit: str = "simt"
    products: int = 1
    fewest: int = 0

    @property
    def rounds(self) -> str:
        """The format that operands are rounded to; split operands keep float32 precision."""
        return self.numbers if self.products == 1 else "float32"

    def of_sum(self, length: int) -> Computes:
        return self if length >= self.fewest else Computes()


class Launcher(NamedTuple):
    """file, line: where it is exported; the path is relative to the repository. run: the function,
    whose positional arguments are the parameters. workspace: a function of the same arguments, with
    None for the argument `workspace`, that returns how many float32 elements that argument needs;
    None if there is no such argument. module: the extension module."""

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
