"""Searching for a public name finds its definition: every public function and class has a `def` or
`class` with its name and signature, errors name it, and no function hides a module."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from functools import cache
from pathlib import Path
from types import FunctionType

import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl.core.public import PUBLIC, functions

ROOT = Path(__file__).resolve().parents[2]
PLACES = {"gpudl": gpudl, "Tensor": gpudl.Tensor, "functional": F}
OFFERED = [(place, n, f) for place in PLACES for n, f in functions(place).items()]
SPECIAL = re.compile(r"__\w+__")


# All public packages and modules.
PACKAGES = (
    "gpudl", "gpudl.data", "gpudl.data.transforms", "gpudl.interop", "gpudl.models", "gpudl.nn",
    "gpudl.nn.init", "gpudl.nn.utils", "gpudl.nn.utils.rnn", "gpudl.optim",
    "gpudl.optim.lr_scheduler", "gpudl.train",
)  # fmt: skip


def offered() -> dict[str, type | FunctionType]:
    """Every public function, method of an operator, and class, by its full name."""
    found: dict = {entry.function: f"Tensor.{entry.function.__name__}" for entry in PUBLIC}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", [n for n in vars(module) if n[0] != "_"]):
            value = getattr(module, name)
            if isinstance(value, FunctionType | type) and value.__module__.startswith(package):
                found[value] = f"{package}.{name}"
    return {name: value for value, name in found.items()}


ALL = offered()


@cache
def definitions(path: Path) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {n.name: n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def definition(thing) -> ast.FunctionDef | ast.ClassDef | None:
    """The `def` or `class` with its name in its source file; None if there is none."""
    thing = inspect.unwrap(thing)
    found = definitions(Path(inspect.getsourcefile(thing))).get(thing.__name__)
    if isinstance(thing, type):
        return found if isinstance(found, ast.ClassDef) else None
    return found if found and thing.__code__.co_name == found.name else None


def test_every_function_and_class_has_a_definition_with_its_name_and_a_docstring():
    assert len(ALL) > 600
    assert [n for n, thing in ALL.items() if thing.__name__ != n.rpartition(".")[2]] == []
    assert [n for n, thing in ALL.items() if not definition(thing)] == []
    assert [n for n, thing in ALL.items() if not thing.__doc__] == []


def test_a_generated_function_has_no_definition():
    def template():
        """As returned by a factory."""

    template.__name__ = "made"
    assert definition(template) is None
    assert definition(type("Made", (), {"__module__": __name__})) is None


def test_every_name_is_the_functions_name_or_a_special_method():
    """`git grep __radd__` finds the line above `def add`."""
    for place, name, function in OFFERED:
        if name != function.__name__:
            assert place == "Tensor"
            assert SPECIAL.fullmatch(name)
            above = [ast.unparse(d) for d in definition(function).decorator_list]
            assert any(f"'{name}'" in text for text in above), name


def test_every_name_gives_its_function():
    for entry in PUBLIC:
        for place in entry.places:
            assert getattr(PLACES[place], entry.function.__name__) is entry.function


def test_signatures_are_those_in_the_source():
    for _, name, function in OFFERED:
        written = definition(function).args
        names = [a.arg for a in (*written.posonlyargs, *written.args, *written.kwonlyargs)]
        names += [a.arg for a in (written.vararg, written.kwarg) if a]
        assert sorted(names) == sorted(inspect.signature(function).parameters), name


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_wrong_keyword_is_reported_with_the_functions_name(name):
    own = name.rpartition(".")[2]
    with pytest.raises(TypeError, match=rf"^{own}(\.__init__|\.__new__)?\(\) "):
        ALL[name](wrong=1)


def test_a_wrong_keyword_of_a_layer():
    with pytest.raises(TypeError, match=r"^Conv2d.__init__\(\) got an unexpected .* 'wrong'$"):
        gpudl.nn.Conv2d(wrong=1)
    with pytest.raises(TypeError, match=r"^MaxPool3d.__init__\(\) missing 1 required .*'kernel_"):
        gpudl.nn.MaxPool3d()
    assert list(inspect.signature(gpudl.nn.MaxPool3d).parameters)[:2] == ["kernel_size", "stride"]


def test_a_users_layer_keeps_its_constructor():
    """With several bases, the usual method resolution order applies."""

    class Counted(gpudl.nn.Module):
        def __init__(self):
            super().__init__()
            self.count = 1

    class Both(gpudl.nn.Identity, Counted):
        pass

    assert Both().count == 1
    assert Both.__init__ is gpudl.nn.Identity.__init__


def modules() -> list[str]:
    """All modules of the package except gpudl itself and the native ones."""
    paths = (p.with_suffix("").relative_to(ROOT) for p in (ROOT / "gpudl").rglob("*.py"))
    names = (".".join(path.parts).removesuffix(".__init__") for path in paths)
    return sorted(name for name in names if "." in name)


def test_no_name_in_a_package_hides_a_module():
    """`import gpudl.nn.conv as m` gives the module, never a function."""
    for name in modules():
        importlib.import_module(name)
    hidden = []
    for name in modules():
        package, _, own = name.rpartition(".")
        if getattr(sys.modules[package], own) is not sys.modules[name]:
            hidden.append(name)
    assert hidden == []
