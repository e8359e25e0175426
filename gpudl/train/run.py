"""A run's folder: configuration, history, checkpoint, weights and pictures of one training."""

from __future__ import annotations

import json
import os
import re
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpudl.core.files import is_part, is_there, read_json, remove_parts, write_text
from gpudl.train.config import Config, from_dict
from gpudl.train.errors import TrainingError

ROOT = Path("runs")


class Run:
    """The paths in the folder of a run.

    `lock` keeps other processes from writing to it until `unlock` or the end of the process.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.config_path = self.folder / "config.json"
        self.history = self.folder / "history.csv"
        self.checkpoint = self.folder / "checkpoint.safetensors"
        self.weights = self.folder / "model.safetensors"
        self._lock: weakref.finalize[[int], Run] | None = None

    @classmethod
    def create(cls, folder: str | os.PathLike[str] | None, config: Config) -> Run:
        """A new run in `folder`, or in the next free runs/<model>-<data>-<n>.

        Raises TrainingError if the folder is not empty or cannot be created.
        """
        try:
            run = cls(_next_folder(config) if folder is None else folder)
            run.folder.mkdir(parents=True, exist_ok=True)
            run._require_empty()
            run.lock()
            try:
                run._require_empty()  # another process may have started here before the lock
                write_text(run.config_path, readable(config.as_dict()))
            except BaseException:
                run.unlock()
                raise
        except OSError as error:
            raise TrainingError(
                f"{folder or ROOT}: cannot be written ({error.strerror or error}); "
                "choose another folder with --out"
            ) from None
        return run

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """An existing run. Raises TrainingError if the folder is not a run."""
        run = cls(folder)
        if not is_there(run.config_path):
            if run.folder.is_dir() and any(map(is_part, run.folder.iterdir())):
                raise TrainingError(
                    f"{folder}: was stopped before its settings were saved; "
                    f"start it again with --out {folder}"
                )
            known = sorted((p.parent for p in ROOT.glob("*/config.json")), key=_age)
            hint = f"the latest is {known[-1]}" if known else "train a model first: gpudl train"
            raise TrainingError(f"{folder}: is not a run (it has no config.json); {hint}")
        return run

    def config(self) -> Config:
        try:
            values = read_json(self.config_path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TrainingError(
                f"{self.config_path}: cannot be read ({reason}); train the model again"
            ) from None
        return from_dict(values, str(self.config_path))

    def lock(self) -> None:
        """Lock the run. Raises TrainingError if another process has locked it."""
        try:
            import fcntl
        except ImportError:  # not on this system
            return
        # The folder, not a file in it: files are replaced, and a lock would stay with the old one.
        handle = os.open(self.folder, os.O_RDONLY)
        self._lock = weakref.finalize(self, os.close, handle)  # also without `unlock`
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            raise TrainingError(
                f"{self.folder}: is being trained by another process; wait for it or end it"
            ) from None
        except OSError:  # a file system without locks
            return
        remove_parts(self.folder)

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock()
            self._lock = None

    def _require_empty(self) -> None:
        """Raises TrainingError if the folder has files, except those of a killed start."""
        if all(map(is_part, self.folder.iterdir())):
            return
        resume = (
            f"continue it with gpudl train --resume {self}, or "
            if self.config_path.is_file()
            else ""
        )
        raise TrainingError(
            f"{self}: already has files in it; {resume}give another folder with --out"
        )

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)


def _next_folder(config: Config) -> Path:
    ROOT.mkdir(exist_ok=True)
    number = 1
    while True:
        folder = ROOT / f"{config.model}-{slug(config.data.name)}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def readable(values: Mapping[str, Any], indent: str = "") -> str:
    """Indented JSON, but with each list on one line."""
    inner = indent + "  "
    lines = [
        f"{inner}{json.dumps(name, ensure_ascii=False)}: "
        + (
            readable(value, inner)
            if isinstance(value, Mapping) and value
            else json.dumps(value, ensure_ascii=False)
        )
        for name, value in values.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}" + ("" if indent else "\n")


def slug(data: str) -> str:
    """The name of a data set, or the last part of its path, for use in a file name."""
    return re.sub(r"[^\w.-]+", "_", Path(data).stem) or "data"


def _age(folder: Path) -> float:
    return folder.stat().st_mtime
