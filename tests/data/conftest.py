"""Fixtures for the tests of gpudl.data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REAL_DATA = os.environ.get("GPUDL_DATA")


@pytest.fixture(autouse=True)
def no_data_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hides the user's own data; returns the cache folder used instead."""
    monkeypatch.delenv("GPUDL_DATA", raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setattr("gpudl.data.sources.cache_folder", lambda: cache)
    return cache


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Writes a file with the given name and content, and returns its path."""

    def write_file(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write_file


@pytest.fixture
def real_data() -> Path:
    """The folder with the real data sets. Without one, the test is skipped."""
    if not REAL_DATA:
        pytest.skip("needs the real data sets: set GPUDL_DATA")
    return Path(REAL_DATA)
