"""Names are found by search: every public function is a `def` of its own name and signature, and no
function hides a module."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from functools import cache
from pathlib import Path

import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl.core.public import PUBLIC, functions

ROOT = Path(__file__).resolve().parents[2]
PLACES = {"gpudl": gpudl, "Tensor": gpudl.Tensor, "functional": F}
OFFERED = [(place, n, f) for place in PLACES for n, f in functions(place).items()]
SPECIAL = re.compile(r"__\w+__")


@cache
def definitions(path: Path) -> dict[str, ast.FunctionDef]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def definition(function) -> ast.FunctionDef | None:
    """The `def` of the function's name in its source file; None if there is none."""
    candidate = definitions(Path(inspect.getsourcefile(function))).get(function.__name__)
    return candidate if candidate and function.__code__.co_name == candidate.name else None


def test_every_function_is_a_def_of_its_name_with_a_docstring():
    assert len({name for _, name, _ in OFFERED}) > 300
    missing = [e.function.__name__ for e in PUBLIC if not definition(e.function)]
    assert missing == []
    assert [e.function.__name__ for e in PUBLIC if not e.function.__doc__] == []


def test_every_name_is_the_functions_own_or_a_special_method():
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


@pytest.mark.parametrize("entry", PUBLIC, ids=lambda e: e.function.__name__)
def test_a_wrong_keyword_is_reported_by_the_functions_name(entry):
    name = entry.function.__name__
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'wrong'"):
        entry.function(wrong=1)


def modules() -> list[str]:
    """All modules of the package except gpudl itself and the native ones."""
    paths = (p.with_suffix("").relative_to(ROOT) for p in (ROOT / "gpudl").rglob("*.py"))
    names = (".".join(path.parts).removesuffix(".__init__") for path in paths)
    return sorted(name for name in names if "." in name)


def test_no_name_of_a_package_hides_a_module():
    """`import gpudl.nn.conv as m` gives the module, never a function."""
    for name in modules():
        importlib.import_module(name)
    hidden = []
    for name in modules():
        package, _, own = name.rpartition(".")
        if getattr(sys.modules[package], own) is not sys.modules[name]:
            hidden.append(name)
    assert hidden == []
