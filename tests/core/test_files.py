"""A file is either the complete new one or the old one, even after a failure."""

import pytest

from gpudl.core.files import replacing, write_bytes


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


def test_the_remains_of_a_killed_process_are_overwritten(tmp_path):
    path = tmp_path / "a.bin"
    with replacing(path) as part:
        name = part.name
        part.write_bytes(b"x")
    (tmp_path / name).write_bytes(b"half")
    write_bytes(path, b"new")
    assert list(tmp_path.iterdir()) == [path]
