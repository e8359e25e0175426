"""What is known of a launcher, the C++ function that runs one algorithm's kernels: all of it is
declared beside its source by GPUDL_EXPORT (csrc/core/export.h)."""

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


class Launcher(NamedTuple):
    """file, line: where it is exported, as a path from the root of the repository. run: the
    function, whose positional arguments are the parameters."""

    op: str
    direction: str
    algorithm: str
    file: str
    line: int
    parameters: tuple[Parameter, ...]
    run: Callable[..., Any]

    @property
    def name(self) -> str:
        return f"{self.op}_{self.direction}_{self.algorithm}"
