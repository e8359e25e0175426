"""How to declare an operator: once, in one class that tests, benchmarks and devices read.

A subclass of `Op` whose name ends in `Op` says everything about an operator: its inputs and
outputs, the checks of their shapes, a NumPy definition of forward and backward, its hand-written
kernels, its cost, and its test cases. Declaring the class registers it in `OPS`; no other file
changes.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform

    from gpudl.core.launcher import Launcher, Launchers
    from gpudl.core.machine import Machine
else:

    def dataclass_transform(**_):
        """Describes __init_subclass__ to type checkers; part of typing since Python 3.11."""
        return lambda cls: cls


Array = Any  # numpy.ndarray or cupy.ndarray: definitions are written over their common interface

OPS: dict[str, type[Op]] = {}


class Spec(NamedTuple):
    """Shape, dtype and layout of an array. Shapes are always logical: (N, C, H, W)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    layout: str = "nchw"

    @property
    def size(self) -> int:
        n = 1
        for extent in self.shape:
            n *= extent
        return n

    def __str__(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}"


Arrays = tuple[Array | None, ...]  # None for an absent optional array
Specs = tuple[Spec | None, ...]  # the same for specs
Needs = tuple[bool, ...]  # which inputs need a gradient


class Cost(NamedTuple):
    """Floating-point operations, the fewest bytes to move through memory, and multiply-adds (for
    the summary of a model)."""

    flops: int
    bytes: int
    multiply_adds: int = 0


class Plan(NamedTuple):
    """Cached facts for one set of input shapes and dtypes: the specs, and which inputs and outputs
    can have gradients."""

    specs: Specs
    differentiable: tuple[bool, ...]
    floating_outputs: tuple[bool, ...]
    wide: bool  # compute in float32: some input is float16 or bfloat16


class Case(NamedTuple):
    """One test case of an operator; `make(rng)` draws its inputs.

    golden: expected outputs from a source outside this code. error: a regular expression that the
    error for these inputs must match (nothing else of the case is then tested).
    """

    name: str
    op: Op
    make: Callable[..., Arrays]
    golden: tuple[Array, ...] | None = None
    error: str | None = None


class SavedType:
    """The named tuple of an operator's `saves` and specs, created on first access."""

    def __get__(self, op: Op | None, cls: type[Op]) -> Any:
        record: Any = namedtuple
        made = cls.saved_type = record(f"{cls.__name__}Saved", (*cls.saves, "specs"))
        return made


@dataclass_transform(frozen_default=True)
class Op:
    """Base of all operators; see the module's docstring. Instances are immutable."""

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]] = ("x",)  # "bias?" may be absent (None)
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    saves: ClassVar[tuple[str, ...]] = ()  # inputs and outputs that backward reads
    # {"x": ("y",)}: only the gradient of input y reads the saved x; unlisted: any gradient does
    saved_for: ClassVar[dict[str, tuple[str, ...]]] = {}
    internal: ClassVar[tuple[str, ...]] = ()  # outputs without a gradient, read by backward
    mutates: ClassVar[tuple[str, ...]] = ()  # inputs that forward changes in place
    constants: ClassVar[tuple[str, ...]] = ()  # floating inputs without a gradient, as in PyTorch
    kernels: ClassVar[tuple[str, ...]] = ()  # hand-written algorithms, in order of preference
    cpu: ClassVar[tuple[str, ...]] = ()  # faster NumPy forms than the definition, likewise
    true_gradient: ClassVar[bool] = True  # False: backward deliberately uses another one
    view: ClassVar[bool] = False  # the output may share memory with the first input
    # float16 and bfloat16 are computed in float32 and rounded once; False if data only moves
    widens: ClassVar[bool] = True
    differentiable: ClassVar[bool]

    fields: ClassVar[tuple[str, ...]] = ()  # names of the static parameters
    optional: ClassVar[tuple[bool, ...]]
    saved_type: ClassVar[Any]  # a named tuple of `saves` and specs
    # per saved array: whether it is an input, its number, the inputs whose gradients read it
    _saved_from: ClassVar[tuple[tuple[bool, int, tuple[int, ...] | None], ...]]

    def __init_subclass__(cls) -> None:
        own = (n for n, t in cls.__annotations__.items() if not str(t).startswith("ClassVar"))
        cls.fields = tuple(dict.fromkeys((*cls.fields, *own)))
        if not cls.__name__.endswith("Op"):
            return  # a shared base of several operators
        cls.name = snake_case(cls.__name__.removesuffix("Op"))
        if cls.name in OPS and OPS[cls.name].__qualname__ != cls.__qualname__:
            raise TypeError(f"operator {cls.name!r} is declared twice")
        cls.optional = tuple(name.endswith("?") for name in cls.inputs)
        cls.inputs = tuple(name.removesuffix("?") for name in cls.inputs)
        cls.differentiable = cls.backward is not None
        cls.saved_type = SavedType()
        cls._saved_from = tuple(
            (
                name in cls.inputs,
                (cls.inputs if name in cls.inputs else cls.outputs).index(name),
                tuple(map(cls.inputs.index, cls.saved_for[name]))
                if name in cls.saved_for
                else None,
            )
            for name in cls.saves
        )
        OPS[cls.name] = cls

    # In effect a frozen dataclass. The standard library's generates code per class, which for a
    # hundred operators takes longer than importing the rest of the package.

    def __init__(self, *values: Any, **named: Any) -> None:
        if len(values) > len(self.fields):
            raise TypeError(f"{type(self).__name__} has the fields {self.fields}, got {values}")
        given = dict(zip(self.fields, values, strict=False))
        for name, value in named.items():
            if name in given or name not in self.fields:
                raise TypeError(
                    f"{type(self).__name__}: {name!r} is not a field or was given twice"
                )
            given[name] = value
        for name in self.fields:
            if name not in given and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__}: field {name!r} is missing")
        self.__dict__.update(given)
        self.check_fields()

    def check_fields(self) -> None:
        """Raise for fields that no input could fit."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"{type(self).__name__} is immutable; create a new one to change {name}"
        )

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.fields)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._values() == self._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        listed = ", ".join(f"{n}={v!r}" for n, v in self.parameters().items())
        return f"{type(self).__name__}({listed})"

    @classmethod
    @lru_cache(maxsize=4096, typed=True)  # clamp(0) and clamp(0.0) have different dtypes
    def of(cls: type[O], *values: Any) -> O:
        """The operator with these fields, always the same object, so that its caches persist."""
        return cls(*values)

    def parameters(self) -> dict[str, Any]:
        return dict(zip(self.fields, self._values(), strict=True))

    # ---------------------------------------------------------------- declared by subclasses

    def infer(self, *specs: Any) -> tuple[Spec, ...]:
        """Specs of the outputs. The only place that checks shapes, dtypes and layouts."""
        raise TypeError(f"{type(self).__name__} declares no infer")

    def forward(self, xp: Any, *inputs: Any) -> tuple[Array, ...]:
        """The definition, over xp = numpy or cupy. Absent optional inputs are None."""
        raise TypeError(f"{type(self).__name__} declares no forward")

    def backward(
        self, xp: Any, dys: tuple[Any, ...], saved: Any, needs: tuple[bool, ...]
    ) -> Arrays:
        """Gradients of the inputs. dys: gradients of the outputs, None if absent. saved: the arrays
        named in `saves` as attributes, and `saved.specs`, the Spec of each input. needs: which
        inputs need a gradient; the result may be None for the others. `backward = None` declares
        that the operator has no gradient."""
        raise TypeError(f"{type(self).__name__} declares no backward")

    def supports(self, kernel: Launcher, *specs: Any) -> bool:
        """Whether this kernel can run on such inputs; dtypes are checked elsewhere."""
        return True

    def fits(self, machine: Machine, kernel: Launcher, *specs: Any) -> bool:
        """Whether this GPU has what the kernel needs for such inputs."""
        return True

    def prefer(
        self, machine: Machine | None, precision: str, kernels: Launchers, *specs: Any
    ) -> Launchers:
        """The kernels of one direction to choose from, best first; the first that accepts the
        inputs runs.

        machine: the GPU, None for the emulator. precision: of float32 products, "highest", "high"
        or "medium"."""
        return kernels

    def tile_shapes(self, kernel: Launcher, *specs: Any) -> tuple[int, ...]:
        """Numbers of the tile shapes that tuning may try, for launchers with an argument
        `tile_shape`; with 0, the launcher chooses."""
        return (0,)

    def predict(self, machine: Machine, kernel: Launcher, *specs: Any) -> float:
        """Predicted seconds of the kernel on a GPU, for ranking. By default the roofline of `cost`,
        with backward counted as twice forward."""
        cost, times = self.cost(*specs), 2 if kernel.direction == "backward" else 1
        return machine.roofline(kernel.computes, times * cost.flops, times * cost.bytes)

    def cost(self, *specs: Any) -> Cost:
        """Cost of one forward pass. By default each array moves once, one operation per output."""
        present = [s for s in (*specs, *self.infer(*specs)) if s is not None]
        moved = sum(s.size * s.dtype.itemsize for s in present)
        return Cost(sum(s.size for s in self.infer(*specs)), moved)

    def reduction(self, *specs: Any) -> int:
        """Length of the longest sum; it sets the rounding error that tests allow."""
        return 1

    twin: ClassVar[Callable[..., Any] | None] = (
        None  # def twin(self, torch, *inputs): PyTorch's outputs
    )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        """The cases that all tests of the operator run on."""
        raise TypeError(f"{cls.__name__} declares no cases")

    # ---------------------------------------------------------------- derived from the declarations

    def infer_cached(self, specs: Specs) -> tuple[Spec, ...]:
        cache = self.cache("infer")
        found = cache.get(specs)
        if found is None:
            self._check_present(specs)
            found = cache[specs] = self.infer(*specs)
        return found

    def cache(self, what: str) -> dict[Any, Any]:
        """A dictionary that lives as long as this operator and is not part of its value."""
        caches = self.__dict__.get("_caches")
        if caches is None:
            caches = {}
            object.__setattr__(self, "_caches", caches)
        return caches.setdefault(what, Bounded())  # type: ignore[no-any-return]

    @cached_property
    def plans(self) -> dict[tuple[Any, ...], Plan]:
        """Plans by input shapes and dtypes."""
        return Bounded()

    @cached_property
    def numpy_forms(self) -> dict[tuple[str, str | None], Callable[..., Any]]:
        """The methods that run this operator on arrays, by direction and algorithm."""
        return {}

    def plan(self, arrays: Arrays) -> Plan:
        specs = tuple(None if a is None else Spec(tuple(a.shape), a.dtype) for a in arrays)
        outputs = self.infer_cached(specs)
        return Plan(
            specs,
            tuple(
                s is not None and is_floating(s.dtype) and name not in self.constants
                for name, s in zip(self.inputs, specs, strict=True)
            ),
            tuple(
                is_floating(s.dtype) and name not in self.internal
                for name, s in zip(self.outputs, outputs, strict=True)
            ),
            self.widens
            and not self.view
            and any(s is not None and is_small(s.dtype) for s in specs),
        )

    def save(
        self,
        inputs: tuple[Any, ...],
        outputs: tuple[Any, ...],
        specs: Specs,
        needs: tuple[bool, ...] | None = None,
    ) -> Any:
        """What backward receives: `saves` by name, and specs. Arrays that no needed gradient reads
        are None."""
        if not self.saves:
            return self.saved_type(specs)
        kept: list[Array | None] = []
        for is_input, i, used_for in self._saved_from:
            if used_for is not None and needs is not None and not any(needs[j] for j in used_for):
                kept.append(None)
            else:
                kept.append(inputs[i] if is_input else outputs[i])
        return self.saved_type(*kept, specs)

    def _check_present(self, specs: Specs) -> None:
        if len(specs) != len(self.inputs):
            raise TypeError(f"{self.name}: takes {len(self.inputs)} inputs, got {len(specs)}")
        for name, spec, optional in zip(self.inputs, specs, self.optional, strict=True):
            if spec is None and not optional:
                raise TypeError(f"{self.name}: {name} is None; it must be a tensor")


O = TypeVar("O", bound=Op)


class Bounded(dict[Any, Any]):
    """A cache that drops its older half when full, because shapes may never recur."""

    LIMIT = 1024

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self) >= self.LIMIT:
            for old in list(self)[: self.LIMIT // 2]:
                del self[old]
        super().__setitem__(key, value)


def snake_case(name: str) -> str:
    """MaxPool2d -> max_pool2d, LogSumExp -> log_sum_exp."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def require(condition: bool, op: Op, argument: str, message: str) -> None:
    """Raise ValueError naming operator and argument; `message` gives the value and what is
    expected."""
    if not condition:
        raise ValueError(f"{op.name}: {argument} {message}")


def require_float(op: Op, **specs: Spec | None) -> None:
    """Raise TypeError unless all given inputs are floating point and of the same dtype."""
    first: tuple[str, Spec] | None = None
    for argument, spec in specs.items():
        if spec is None:
            continue
        if not is_floating(spec.dtype):
            raise TypeError(
                f"{op.name}: {argument} is {spec.dtype.name}; "
                "it must be floating point (use .float())"
            )
        if first is None:
            first = argument, spec
        elif spec.dtype != first[1].dtype:
            kept, changed = (argument, spec), first
            if spec.dtype == np.float64:  # NumPy's default, seldom wanted
                kept, changed = changed, kept
            raise TypeError(
                f"{op.name}: {argument} is {spec.dtype.name}, but {first[0]} is "
                f"{first[1].dtype.name}; convert {changed[0]} with "
                f"{CONVERSIONS.get(kept[1].dtype.name, '.to(dtype)')}"
            )


CONVERSIONS = {"float32": ".float()", "float64": ".double()", "float16": ".half()"}


def is_small(dtype: np.dtype[Any]) -> bool:
    """Whether this is a 16-bit float, which is too narrow for sums."""
    return dtype.itemsize == 2 and is_floating(dtype)


def is_floating(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"
