"""Show where an operator, function, layer or optimizer is defined, down to its kernels.

NAME is spelled as in Python or PyTorch: conv2d, Conv2d, F.conv2d, torch.nn.Conv2d, Adam. Kernel
launchers are listed from the extension modules that are built; without one, csrc/ is searched.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import linecache
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

from gpudl.cli.errors import CommandError

PACKAGES = (
    "gpudl", "nn", "nn.init", "nn.utils", "nn.utils.rnn", "optim", "optim.lr_scheduler", "models",
    "data", "data.transforms", "interop", "train",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
BUILD = "launchers are known once the emulator or CUDA module is built"


class Row(NamedTuple):
    """A definition and its place. kind: "layer", "function", "operator", …"""

    kind: str
    name: str
    place: str


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="an operator, function, layer or optimizer")


def run(options: argparse.Namespace) -> int:
    found = find(options.name)
    rows = [*definitions(found), *(row for op in found.operators for row in parts(op))]
    width = max(len(row.name) for row in rows if row.place)
    last = ""
    for kind, name, place in rows:
        title = "" if kind == last else kind
        print(f"{title:<8}  {name:<{width}}  {place}".rstrip())
        last = kind
    return 0


# -------------------------------------------------------------------- related definitions


class Found(NamedTuple):
    """classes: layers and optimizers by public name. operators: classes of Op."""

    classes: dict[str, type]
    functions: list[FunctionType]
    operators: list[Any]


def find(asked: str) -> Found:
    """The definitions with this name and those related to it. Raises CommandError if there are
    none."""
    from gpudl.core.op import OPS

    name = re.sub(r"\(.*", "", asked)
    classes = named(name, public_classes())
    functions = list(named(name, public_functions()).values())
    operators = list(named(name, {op.__name__: op for op in OPS.values()}, "Op").values())
    if not (classes or functions or operators):
        raise CommandError(f"where: {asked!r} is unknown; {suggestion(name)}")
    functions = functions or [f for c in classes.values() for f in functions_of(c)]
    callers = functions or list(classes.values())
    operators += [op for caller in callers for op in operators_of(caller)]
    if not callers:
        offered = public_functions().values()
        functions = [f for f in offered if set(operators) & set(operators_of(f))]
    if not classes:
        known = public_classes().items()
        classes = {n: c for n, c in known if set(functions) & set(own_functions(c))}
    return Found(classes, list(dict.fromkeys(functions)), list(dict.fromkeys(operators)))


def named(name: str, things: dict[str, Any], suffix: str = "") -> dict[str, Any]:
    """The entry with this full name; otherwise those that end in it; otherwise those that differ
    only in case and underscores."""
    if name in things:
        return {name: things[name]}
    exact = {n: t for n, t in things.items() if last_word(n) == last_word(name)}
    return exact or {n: t for n, t in things.items() if key(n, suffix) == key(name, suffix)}


def last_word(name: str) -> str:
    return name.rpartition(".")[2]


def key(name: str, suffix: str = "") -> str:
    """MaxPool2d and max_pool2d -> maxpool2d; CrossEntropyLoss and cross_entropy -> crossentropy."""
    short = last_word(name).removesuffix(suffix).replace("_", "").lower()
    return short.removesuffix("loss") or short


def suggestion(name: str) -> str:
    from gpudl.core.op import OPS

    words = sorted(map(last_word, (*public_functions(), *OPS, *public_classes())))
    spelled = {word.lower(): word for word in words}
    close = difflib.get_close_matches(last_word(name).lower(), spelled, 2, 0.7)
    near = [spelled[word] for word in close]
    if not near:
        return "give an operator, function, layer, model or optimizer, such as conv2d or Adam"
    return f"did you mean {' or '.join(near)}?"


@cache
def public_functions() -> dict[str, FunctionType]:
    """gpudl.load, nn.init.zeros_, functional.conv2d, Tensor.add, …"""
    from gpudl.core.public import functions

    offered = members()
    for place in ("functional", "Tensor"):
        offered |= {f"{place}.{name}": f for name, f in functions(place).items()}
    return {name: f for name, f in offered.items() if isinstance(f, FunctionType)}


@cache
def public_classes() -> dict[str, type]:
    return {name: c for name, c in members().items() if isinstance(c, type)}


def members() -> dict[str, Any]:
    """Functions and classes of PACKAGES, as gpudl.no_grad, nn.Conv2d, optim.lr_scheduler.StepLR."""
    from importlib import import_module

    found: dict[Any, str] = {}
    for package in PACKAGES:
        module = import_module(package if package == "gpudl" else f"gpudl.{package}")
        for name in getattr(module, "__all__", vars(module)):
            try:
                value = getattr(module, name)
            except ImportError:  # gpudl.bfloat16 needs ml_dtypes
                continue
            home = getattr(value, "__module__", None) or ""
            if isinstance(value, FunctionType | type) and home.startswith(module.__name__):
                found.setdefault(value, f"{package}.{name}")
    return {name: value for value, name in found.items()}


def functions_of(cls: type) -> list[FunctionType]:
    """The functions of a layer: the one it wraps, or all that it calls."""
    return own_functions(cls) or [f for f in used(cls) if is_public(f)]


@cache
def own_functions(cls: type) -> list[FunctionType]:
    """The functions that a layer wraps: one held by an attribute, one with the layer's name, or the
    only one it calls."""
    held = [f for f in attributes(cls) if is_public(f)]
    called = [f for f in used(cls) if is_public(f)]
    alike = [f for f in called if key(f.__name__) in key(cls.__name__)]
    alike += [f for f in called if key(cls.__name__) in key(f.__name__) and f not in alike]
    return held or alike or (called if len(called) == 1 else [])


def operators_of(thing: Any) -> list[Any]:
    """The operators named in a function or class; if there are none, those of the functions it
    calls."""
    from gpudl.core.op import OPS

    level, seen = [thing], {thing}
    while level:
        next_level = dict.fromkeys(t for c in level for t in (*attributes(c), *used(c)))
        found = [t for t in next_level if t in OPS.values()]
        if found:
            return found
        level = [t for t in next_level if isinstance(t, FunctionType) and t not in seen]
        seen |= set(level)
    return []


def attributes(cls: Any) -> Iterator[Any]:
    """Functions and operators that a class's attributes hold."""
    for base in bases(cls):
        for value in vars(base).values():
            value = value.__func__ if isinstance(value, staticmethod) else value
            if is_public(value) or isinstance(value, type):
                yield value


def used(thing: Any) -> Iterator[Any]:
    """Functions and classes of gpudl named in the code of a function or of a class's methods."""
    methods: list[Any] = [thing] if isinstance(thing, FunctionType) else []
    for base in bases(thing):
        methods += [m for m in vars(base).values() if isinstance(m, FunctionType)]
    for method in map(inspect.unwrap, methods):
        words = method.__code__.co_names
        known = [method.__globals__.get(word) for word in words]
        for module in [m for m in known if inspect.ismodule(m)]:
            known += [vars(module).get(word) for word in words]
        for value in known:
            home = getattr(value, "__module__", None) or ""
            if isinstance(value, FunctionType | type) and home.startswith("gpudl."):
                yield value


def bases(cls: Any) -> list[type]:
    """A layer or optimizer and its bases, without those shared by all of them."""
    from gpudl.nn import Module
    from gpudl.optim import Optimizer

    if not (isinstance(cls, type) and issubclass(cls, Module | Optimizer)):
        return []
    return [base for base in cls.__mro__ if base not in (*Module.__mro__, *Optimizer.__mro__)]


def is_public(value: Any) -> bool:
    return isinstance(value, FunctionType) and value in _public()


@cache
def _public() -> frozenset[FunctionType]:
    return frozenset(public_functions().values())


# -------------------------------------------------------------------- places


def definitions(found: Found) -> Iterator[Row]:
    from gpudl.nn import Module

    for name, cls in found.classes.items():
        yield Row("layer" if issubclass(cls, Module) else "class", name, defined(cls))
    for function in found.functions:
        kind = "model" if function.__module__.startswith("gpudl.models.") else "function"
        yield Row(kind, function.__name__, defined(function))


def parts(op: Any) -> Iterator[Row]:
    """The declaration, the NumPy forms that the cpu device runs, and the launchers."""
    from gpudl.devices.cpu import form_name

    yield Row("operator", op.__name__, defined(op))
    for direction in ("forward", "backward"):
        method = form_name(op, direction)
        if method:
            yield Row("NumPy", method, defined(getattr(op, method)))
    if op.kernels:
        yield from launchers(op)
    else:
        yield Row("kernels", "none: NumPy and CuPy run the definition", "")


def launchers(op: Any) -> Iterator[Row]:
    from gpudl.devices import modules

    built = [name for name in modules.NAMES if not modules.why_missing(name)]
    known = {n: launcher for name in built for n, launcher in modules.launchers(name).items()}
    for launcher in known.values():
        if launcher.op == op.name:
            place = shown(ROOT / launcher.file, launcher.line)
            yield Row("kernel", f"{launcher.direction} {launcher.algorithm}", place)
    if not built:
        yield from list(search(op)) or [Row("kernels", BUILD, "")]


def search(op: Any) -> Iterator[Row]:
    """Lines of csrc/ that contain the operator's name and an algorithm's."""
    for path in sorted((ROOT / "csrc" / "ops").rglob("*.cu")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            words = re.findall(r"\w+", line.partition("//")[0])
            direction = [word for word in words if word in ("forward", "backward")]
            for algorithm in op.kernels if op.name in words else ():
                if algorithm in words:
                    yield Row("kernel", " ".join([*direction, algorithm]), shown(path, number))


def defined(thing: Any) -> str:
    """file:line of the `def` or `class`."""
    thing = inspect.unwrap(thing)
    path = inspect.getsourcefile(thing) or ""
    code = getattr(thing, "__code__", None)
    name, first = (code.co_name, code.co_firstlineno) if code else (thing.__name__, 1)
    start = re.compile(
        rf"\s*(def|class) {re.escape(name)}\b"
    )  # a function's code starts at its first decorator
    below = enumerate(linecache.getlines(path)[first - 1 :], first)
    return shown(Path(path), next((n for n, text in below if start.match(text)), first))


def shown(path: Path, line: int) -> str:
    """The path relative to the current folder if it is inside it. An installation has no csrc/, so
    its paths are those of the repository."""
    if not path.exists():
        return f"{path.relative_to(ROOT)}:{line}"
    relative = os.path.relpath(path)
    return f"{path if relative.startswith('..') else relative}:{line}"
