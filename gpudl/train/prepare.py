"""Completes and checks the settings of a training run, and loads its data."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpudl import data as data_sets
from gpudl import models
from gpudl.core.files import expanded
from gpudl.core.version import VERSION
from gpudl.data import Split
from gpudl.devices.find import meta
from gpudl.train import blas, build, config
from gpudl.train.config import Config
from gpudl.train.errors import TrainingError
from gpudl.train.tasks import Task, task_of


@dataclass(frozen=True)
class Prepared:
    """A complete configuration and its data."""

    config: Config
    split: Split


def configure(
    model: str,
    *,
    data: str | None = None,
    data_dir: str | None = None,
    limit: int | None = None,
    classes: Sequence[int | str] = (),
    device: str = "cpu",
    options: dict[str, Any] | None = None,
    **training: Any,
) -> Prepared:
    """The configuration of a training run and its data; defaults replace None in `training`.

    classes: the classes of the data to use, by label or name; () for the model's default.
    options: arguments of the model's function. training: fields of `gpudl.train.Training`. Raises
    TrainingError or DataError if something is unknown, out of range or missing.
    """
    info, options = find_model(model), options or {}
    task = task_of(info)
    build.check_options(info, options)
    name = info.dataset if data is None else _absolute(data)
    if data_dir is not None:
        if not data_dir:
            raise TrainingError("data_dir is empty; give a folder, or None to search for the data")
        data_dir = os.path.realpath(expanded(data_dir))
    if limit is not None and limit < 1:
        raise TrainingError(f"--limit: {limit}; give 1 or more")
    settings = _settings(info, task, name, training)
    source = config.Data(name, data_dir, limit, only=tuple(classes) or info.classes)
    split = task.load(source, info, settings)
    source = replace(source, sizes=(len(split.train), len(split.test)), **task.describe(split))
    with meta:  # the weights are created when training starts
        net, all_options = build.build_model(info, task.offers(info, split, source), options)
    complete = Config(
        model=info.name,
        data=source,
        training=settings,
        device=device,
        options=all_options,
        input_shape=_shape(split),
        parameters=sum(p.numel() for p in net.parameters()),
        versions=_versions(),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    task.check(info, net, complete)
    return Prepared(complete, split)


def _settings(info: models.Info, task: Task, data: str, given: dict[str, Any]) -> config.Training:
    """The hyper-parameters; defaults come from the task and the model."""
    for option, choices in config.CHOICES.items():
        config.check_choice(option, given.get(option), choices)
    settings = config.default_training(data, {**task.defaults, **info.training}, **given)
    if settings.window is not None and "window" not in task.defaults:
        raise TrainingError(f"--window: {info.name} does not learn from text; leave it out")
    return settings


def reload_data(settings: Config) -> Split:
    """The data of a run. Raises TrainingError if their size or shape has changed."""
    data, info = settings.data, find_model(settings.model)
    split = task_of(info).load(data, info, settings.training)
    sizes, shape = (len(split.train), len(split.test)), _shape(split)
    if (sizes, shape) != (data.sizes, settings.input_shape):
        raise TrainingError(
            f"{data.name}: has {sizes} samples of {shape}, but the run was trained with "
            f"{data.sizes} of {settings.input_shape}; restore the data or train a new run"
        )
    return split


def _shape(split: Split) -> tuple[int, ...]:
    return tuple(int(extent) for extent in split.train.shape)


def _absolute(data: str) -> str:
    """The name of a data set, unchanged, or an absolute path."""
    path = expanded(data)
    is_file = path.suffix in (".npz", ".txt")
    is_path = os.sep in data or is_file or (path.is_dir() and not _is_known(data))
    return os.path.realpath(path) if data and is_path else data


def _is_known(data: str) -> bool:
    try:
        return bool(data_sets.info(data))
    except data_sets.DataError:
        return False


def find_model(name: str) -> models.Info:
    """The model registered under a name. Raises TrainingError if it is unknown."""
    try:
        return models.info(name)
    except KeyError as error:
        raise TrainingError(f"{error.args[0]}; gpudl models lists them") from None


def _versions() -> dict[str, str]:
    return {
        "gpudl": VERSION,
        "numpy": np.__version__,
        "blas": blas.describe(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
