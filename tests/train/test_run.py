"""A run's folder: what is written there can be read again, and belongs to one process."""

import errno
import gc
import json
import os
import stat

import pytest

from gpudl.core.files import replacing, write_text
from gpudl.train import Job, TrainingError, configure
from gpudl.train import run as runs
from gpudl.train.callbacks import Checkpoint
from gpudl.train.config import Config, Data, Training
from gpudl.train.run import Run, readable

NAMES = ("a  b", " c", "d\te", "f\u3000g", "h\ni", "[ j ]", '"k" ,  l', "caf\udce9", "m]", "{ n }")


def settings(**data):
    values = {"mean": (0.5,), "std": (0.5,), "classes": ("a", "b"), **data}
    return Config("mlp", Data("own", **values), Training(), "cpu", {}, (1, 28, 28))


def test_settings_are_read_as_they_were_written(tmp_path):
    config = settings(classes=NAMES, only=NAMES)
    run = Run.create(tmp_path / "run", config)
    run.unlock()
    assert run.config() == config


def test_settings_are_readable():
    text = readable({"a": {"b": [1, 2], "c": {}}, "d": None})
    assert text == '{\n  "a": {\n    "b": [1, 2],\n    "c": {}\n  },\n  "d": null\n}\n'
    assert json.loads(text) == {"a": {"b": [1, 2], "c": {}}, "d": None}


def test_two_processes_cannot_start_in_one_folder(tmp_path, monkeypatch):
    """The second starts when the first is just about to write."""

    def write(path, text):
        monkeypatch.setattr(runs, "write_text", write_text)
        with pytest.raises(TrainingError, match="trained by another process"):
            Run.create(tmp_path, settings())
        write_text(path, text)

    monkeypatch.setattr(runs, "write_text", write)
    first = Run.create(tmp_path, settings())
    with pytest.raises(TrainingError, match="trained by another process"):
        Run(tmp_path).lock()
    first.unlock()
    with pytest.raises(TrainingError, match="already has files in it; continue it with"):
        Run.create(tmp_path, settings())


def test_a_run_that_nobody_holds_is_not_locked(tmp_path):
    run = Run.create(tmp_path, settings())
    del run
    gc.collect()
    Run(tmp_path).lock()


def test_a_start_that_fails_releases_the_folder(tmp_path, monkeypatch, blocks):
    def failing(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    prepared = configure("mlp", data=str(blocks), epochs=1)
    monkeypatch.setattr(Checkpoint, "save", failing)
    with pytest.raises(OSError, match="No space left"):
        Job.start(prepared, tmp_path / "r")
    again = Run(tmp_path / "r")
    again.lock()
    again.unlock()


def test_a_folder_with_files_is_left_alone(tmp_path):
    part = tmp_path / ".a.0123456789abcdef.part"
    for path in (part, tmp_path / "notes.txt"):
        path.write_text("mine")
    with pytest.raises(TrainingError, match="already has files in it; give another folder"):
        Run.create(tmp_path, settings())
    assert part.exists()


def test_a_start_that_was_killed_before_its_settings_were_saved(tmp_path):
    part = tmp_path / ".config.0123456789abcdef.part.json"
    part.write_text("{")
    with pytest.raises(TrainingError, match=f"start it again with --out {tmp_path}"):
        Run.open(tmp_path)
    Run.create(tmp_path, settings()).unlock()
    assert not part.exists()


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "ü" * 125 + ".png"])
def test_the_longest_names_can_be_written(tmp_path, name):
    with replacing(tmp_path / name) as part:
        part.write_bytes(b"x")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("call", ["fsync", "close"])
def test_a_disk_that_fails_for_the_folder_is_an_error_with_a_name(tmp_path, monkeypatch, call):
    """The file is complete by then, but its name may not survive a power cut."""
    real = getattr(os, call)

    def failing(handle):
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        real(handle)
        if is_folder:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write_text(tmp_path / "a.txt", "text")
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_system_without_sync_of_folders(tmp_path, monkeypatch):
    real = os.fsync

    def unsupported(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", unsupported)
    write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"
