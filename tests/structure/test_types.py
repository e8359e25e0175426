"""Editors and mypy know the types of what users call: a program of theirs passes strict mode, and
the types revealed in it are those that its comments name."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpudl import models, nn
from gpudl.core.public import PUBLIC

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("user_program.py").read_text(encoding="utf-8")
pytest.importorskip("mypy")


def revealed(program: str, folder: Path) -> dict[int, str]:
    """The type that mypy reveals in each line, without names of modules; fails on errors."""
    path = folder / "program.py"
    path.write_text(program, encoding="utf-8")
    options = ["--strict", "--follow-imports", "silent", "--config-file", os.devnull]
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", ROOT / ".mypy_cache", path.name],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    notes = re.findall(r':(\d+): note: Revealed type is "(.*)"', result.stdout)
    return {int(line): re.sub(r"\b(?:\w+\.)+(?=\w)", "", kind) for line, kind in notes}


def test_a_program_passes_strict_mode_with_the_types_in_its_comments(tmp_path):
    expected = {
        number: line.partition("  # ")[2]
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if line.strip().startswith("reveal_type(")
    }
    assert len(expected) > 60
    assert revealed(PROGRAM, tmp_path) == expected


def test_each_model_has_the_type_that_its_function_returns(tmp_path):
    names = models.names()
    program = "from gpudl import models\n" + "".join(f"reveal_type(models.{n})\n" for n in names)
    results = [kind.rpartition("-> ")[2] for kind in revealed(program, tmp_path).values()]
    assert results == [
        models.info(n).build.__annotations__["return"].rpartition(".")[2] for n in names
    ]


def test_each_layer_returns_something_of_a_known_type(tmp_path):
    layers = [n for n, v in vars(nn).items() if isinstance(v, type) and issubclass(v, nn.Module)]
    program = "from gpudl import nn\n" + "".join(f"reveal_type(nn.{n}.forward)\n" for n in layers)
    kinds = revealed(program, tmp_path).values()
    assert [n for n, kind in zip(layers, kinds, strict=True) if kind.endswith("-> Any")] == []


def test_a_function_with_several_kinds_of_result_declares_overloads():
    for entry in PUBLIC:
        function = inspect.unwrap(entry.function)
        if inspect.signature(function).return_annotation == "Any":
            source = Path(function.__code__.co_filename).read_text(encoding="utf-8")
            assert f"@overload\ndef {function.__name__}(" in source, function.__name__
