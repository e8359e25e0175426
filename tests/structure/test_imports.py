"""Imports form no cycle and only go down, between parts of the package, folders and files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The parts of the package from top to bottom; parts on one line do not import each other. "gpudl"
# is gpudl/__init__.py, the public interface, which pages and commands use like any program.
LEVELS = [
    ("__main__",),
    ("cli",),
    ("zoo",),
    ("gpudl",),
    ("bench",),
    ("train",),
    ("models",),
    ("nn",),
    ("data", "optim"),
    ("interop", "ops"),
    ("autograd",),
    ("devices",),
    ("core",),
]
LEVEL = {part: number for number, parts in enumerate(LEVELS) for part in parts}

Graph = dict[str, set[str]]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = [p for suffix in ("*.py", "*.pyi") for p in sorted((ROOT / "gpudl").rglob(suffix))]
MODULES = {module_of(path) for path in FILES}


def imported(path: Path) -> Iterator[str]:
    """Names that a file imports: at the top, in functions, or only for type checking."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}:{node.lineno}: import by full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def defining(name: str) -> str | None:
    """The module of the package that an imported name is, or is defined in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def file_graph() -> Graph:
    """The imports of each module; those of a stub count for its module."""
    graph: Graph = {module: set() for module in MODULES}
    for path in FILES:
        module = module_of(path)
        graph[module] |= {m for m in map(defining, imported(path)) if m not in (None, module)}
    return graph


def folder_of(module: str) -> str:
    """gpudl.ops.conv.base -> gpudl.ops.conv; a package is its own folder."""
    folder = ROOT.joinpath(*module.split("."))
    return module if folder.is_dir() else module.rpartition(".")[0]


def part_of(module: str) -> str:
    """gpudl.ops.conv.base -> ops."""
    return module.split(".")[1] if "." in module else module


def grouped(graph: Graph, group) -> Graph:
    """The graph of imports between groups of modules."""
    joined: Graph = {}
    for module, targets in graph.items():
        joined.setdefault(group(module), set()).update(map(group, targets))
    return {name: targets - {name} for name, targets in joined.items()}


def find_cycle(graph: Graph) -> list[str]:
    """One import cycle; empty if there is none."""
    done: set[str] = set()

    def follow(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for target in sorted(graph[node]):
            if cycle := follow(target, [*path, node]):
                return cycle
        done.add(node)
        return []

    return next((cycle for node in sorted(graph) if (cycle := follow(node, []))), [])


GRAPH = file_graph()


def test_no_import_cycle_of_files():
    assert find_cycle(GRAPH) == []


def test_no_import_cycle_of_families():
    inside = {m: {t for t in targets if part_of(t) == "ops"} for m, targets in GRAPH.items()}
    families = grouped({m: inside[m] for m in MODULES if part_of(m) == "ops"}, folder_of)
    assert len(families) > 10
    assert find_cycle(families) == []


def test_each_part_has_a_level():
    assert {part_of(m) for m in MODULES} == LEVEL.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module):
    part = part_of(module)
    upward = {t for t in GRAPH[module] if LEVEL[part_of(t)] <= LEVEL[part] and part_of(t) != part}
    assert not upward, f"{module} may not import {', '.join(sorted(upward))}"


def test_every_kind_of_import_is_seen(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import a.b\nfrom c import d as e\nif TYPE_CHECKING:\n    from f import g\n"
        "def h():\n    import i\n    from j.k import l\n"
    )
    assert sorted(imported(path)) == ["a.b", "c.d", "f.g", "i", "j.k.l"]
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
