"""A file is either the complete new one or the old one, even after a failure."""

import errno
import os
from pathlib import Path

import pytest

from gpudl.core.files import (
    cache_folder,
    expanded,
    is_part,
    read_json,
    remove_parts,
    replacing,
    write_bytes,
)


def test_the_new_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def write_half():
        with replacing(path) as part:
            part.write_bytes(b"ne")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_links_with_predictable_names_are_not_followed(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for name in ("a.bin", ".a.part.bin"):
        (tmp_path / name).symlink_to(mine)
    write_bytes(tmp_path / "a.bin", b"new")
    assert mine.read_text() == "mine"
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert not (tmp_path / "a.bin").is_symlink()


def test_the_remains_of_a_killed_process_are_removed(tmp_path):
    path, mine = tmp_path / "a.bin", tmp_path / ".a.part.bin"
    mine.write_text("mine")
    with replacing(path) as part:
        name = part.name
    assert is_part(tmp_path / name)
    (tmp_path / name).write_bytes(b"half")
    remove_parts(tmp_path)
    assert set(tmp_path.iterdir()) == {path, mine}


def test_a_failed_write_names_the_file(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.bin'"):
        write_bytes(tmp_path / "a.bin", b"new")


def test_json_files_from_other_programs(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf{}\r\n")
    assert read_json(path) == {}
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="Not a regular file"):
        read_json(tmp_path / "pipe")


def test_without_a_home_folder(monkeypatch):
    def no_home(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(Path, "expanduser", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder().name == f"gpudl-{os.getuid()}"
    with pytest.raises(OSError, match="There is no home folder"):
        expanded("~/data")
