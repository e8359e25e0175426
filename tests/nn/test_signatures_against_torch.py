"""Whatever bears PyTorch's name takes PyTorch's arguments: names, order and defaults."""

import ast
import inspect
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from gpudl import nn, optim
from gpudl.core.public import functions

torch = pytest.importorskip("torch")

# Arguments that gpudl does without everywhere. An optimizer always updates in one launch.
WITHOUT = {"out", "layout", "pin_memory", "names", "memory_format", "generator", "implicit"}
WITHOUT |= {"foreach", "fused", "capturable", "differentiable", "sparse_grad"}
ALL_AXES = (None, ())  # two names for one default, of strides too

DIFFERENT = {
    "gpudl.randint": "integers have no gradients: no requires_grad",
    "gpudl.randint_like": "as randint",
    "gpudl.randperm": "as randint",
    "gpudl.dropout": "as nn.functional.dropout: training, not train",
    "gpudl.meshgrid": "indexing: PyTorch's None means our 'ij', with a warning",
    "gpudl.var": "correction: PyTorch's None means our 1",
    "gpudl.std": "as var",
    "Tensor.var": "as var",
    "Tensor.std": "as var",
    "Tensor.split": "the function's name, split_size_or_sections",
    "Tensor.copy_": "src, as in PyTorch's manual; its stub says other",
    "nn.Hardtanh": "min_value and max_value are deprecated in PyTorch",
    "nn.RNNBase": "the mode is a subclass",
    "optim.Adam": "decoupled_weight_decay=True is AdamW",
}


@cache
def stubs(name, owner=None):
    """The signatures that PyTorch's type stubs give, by name."""
    body = ast.parse((Path(torch.__file__).parent / "_C" / name).read_text()).body
    if owner:
        body = next(n.body for n in body if isinstance(n, ast.ClassDef) and n.name == owner)
    found = defaultdict(list)
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found[node.name].append(of_stub(node.args))
    return found


def of_stub(args):
    """(name, kind, default) of each argument."""
    plain = [*args.posonlyargs, *args.args]
    defaults = [inspect.Parameter.empty] * (len(plain) - len(args.defaults))
    defaults += [value_of(d) for d in args.defaults]
    result = [(a.arg, "plain", d) for a, d in zip(plain, defaults, strict=True)]
    result += [(args.vararg.arg, "*", None)] if args.vararg else []
    named = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return result + [(a.arg, "named", value_of(d)) for a, d in named]


def value_of(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ...


def of_function(function):
    kinds = {"KEYWORD_ONLY": "named", "VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, kinds.get(p.kind.name, "plain"), p.default) for p in parameters]


def theirs_of(place, name):
    """PyTorch's signatures of a name, one for each overload; none if it lacks the name or does not
    say."""
    homes = {"gpudl": torch, "Tensor": torch.Tensor, "F": torch.nn.functional, "nn": torch.nn}
    homes |= {"optim": torch.optim, "lr_scheduler": torch.optim.lr_scheduler}
    homes |= {"init": torch.nn.init, "utils": torch.nn.utils}
    theirs = getattr(homes[place], name, None)
    if theirs is None:
        return []
    if place == "Tensor" and (overloads := stubs("__init__.pyi", "TensorBase").get(name)):
        return overloads
    builtin = place != "Tensor" and not inspect.isfunction(theirs)
    if builtin and (overloads := stubs("_VariableFunctions.pyi").get(name)):
        return overloads
    try:
        signature = of_function(theirs)
    except (TypeError, ValueError):
        return []
    return [] if [k for _, k, _ in signature] == ["*", "**"] else [signature]


def offered():
    places = {"gpudl": functions("gpudl"), "Tensor": functions("Tensor")}
    places["F"] = functions("functional")
    for place, module in (
        ("nn", nn), ("optim", optim), ("lr_scheduler", optim.lr_scheduler), ("init", nn.init),
        ("utils", nn.utils),
    ):  # fmt: skip
        places[place] = {n: f for n, f in vars(module).items() if n[0] != "_" and callable(f)}
    for place, found in places.items():
        for name, function in found.items():
            if not name.startswith("__") and theirs_of(place, name):
                yield f"{place}.{name}", function


OFFERED = dict(offered())


def difference(ours, theirs, method):
    """What the first difference is; None if every call by PyTorch's signature is valid. An
    argument that only PyTorch requires is none."""
    if method:
        ours, theirs = ours[1:], theirs[1:]
    theirs = [p for p in theirs if p[0][0] != "_" and p[0] not in WITHOUT]
    if any(kind == "*" for _, kind, _ in ours):
        positional = sum(kind == "plain" for _, kind, _ in ours)
        theirs = [p for i, p in enumerate(theirs) if i < positional or p[1] == "named"]
    mine = {name: (kind, default) for name, kind, default in ours}
    places = [name for name, kind, _ in ours if kind == "plain"]
    place = 0
    for name, kind, default in theirs:
        if kind in ("*", "**"):
            continue
        if name not in mine:  # private names and WITHOUT are gone
            return f"lacks {name}"
        if kind == "plain" and places[place : place + 1] != [name] and mine[name][0] == "plain":
            return f"{name} is not argument {place}"
        known = default is not ... and default is not inspect.Parameter.empty
        both_all = default in ALL_AXES and mine[name][1] in ALL_AXES
        if known and default != mine[name][1] and not both_all:
            return f"{name} is {mine[name][1]!r}, PyTorch's {default!r}"
        place += kind == "plain"
    return None


@pytest.mark.parametrize("name", OFFERED)
def test_the_arguments_are_pytorchs(name):
    place, _, own = name.partition(".")
    ours = of_function(OFFERED[name])
    found = [difference(ours, theirs, place == "Tensor") for theirs in theirs_of(place, own)]
    assert None in found or name in DIFFERENT, found


def test_nothing_stands_in_the_table_for_no_reason():
    assert set(DIFFERENT) <= set(OFFERED)


def test_a_difference_is_noticed():
    """Of the order, the default, the presence, and of an argument that must be named."""

    def same(input, dim=0, keepdim=False): ...
    def order(input, keepdim=False, dim=0): ...
    def default(input, dim=1, keepdim=False): ...
    def absent(input, dim=0): ...

    theirs = of_function(same)
    found = [difference(of_function(f), theirs, True) for f in (same, order, default, absent)]
    wrong = "dim is not argument 0", "dim is 1, PyTorch's 0", "lacks keepdim"
    assert found == [None, *wrong]
