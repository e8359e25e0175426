"""Files named in comments and docstrings exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = [
    *(
        p
        for part in ("csrc", "gpudl", "cmake", "bench", "scripts")
        for p in (ROOT / part).rglob("*")
    ),
    *(ROOT / name for name in ("CONTRIBUTING.md", "Makefile", "CMakeLists.txt")),
]
SOURCES = [
    p for p in WRITTEN if p.suffix in {".cu", ".h", ".cpp", ".py", ".cmake", ".md", ".txt", ""}
]
PATH = re.compile(
    r"(?<![\w/.{}])(?:csrc|core|prim|ops|platform|gpudl|tests|bench|cmake|docs|scripts)/"
    r"[\w./*-]*\.(?:cu|cuh|h|cpp|py|md)\b(?!\.)"
)


def exists(path: str) -> bool:
    return any(any((ROOT / folder).glob(path)) for folder in ("", "csrc", "gpudl"))


def test_named_files_exist():
    named = {
        (str(source.relative_to(ROOT)), path)
        for source in SOURCES
        if source.is_file()
        for path in PATH.findall(source.read_text(encoding="utf-8"))
    }
    assert any(path == "prim/gemm/gemm.h" for _, path in named)
    assert not [(source, path) for source, path in sorted(named) if not exists(path)]
