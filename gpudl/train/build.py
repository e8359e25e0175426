"""Builds what a configuration describes: data, model, optimizer, schedules."""

from __future__ import annotations

import difflib
import inspect
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl import models, optim
from gpudl.data import (
    Dataset,
    Loader,
    OfClasses,
    Split,
    Subset,
    class_names,
    find_labels,
    load,
)
from gpudl.data import info as known_data
from gpudl.data.errors import DataError, NoImagesError
from gpudl.data.shuffle import permutation
from gpudl.optim import lr_scheduler
from gpudl.train.batches import threads, transform
from gpudl.train.callbacks import Schedule
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError

WARM_UP = 0.1  # share of all steps
STEP_EPOCHS, STEP_FACTOR = 1 / 3, 0.1
PLATEAU_EPOCHS, PLATEAU_FACTOR = 3, 0.5
SPLIT_SEED = 0  # selects the held-out part; the same in all runs, so accuracies are comparable
EVALUATION_BATCH = 256
# Exceptions that a model's function may raise for wrong options.
BUILDING = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
IMAGE_AXES = 3  # (C, H, W)


def is_image_set(name: str) -> bool:
    """Whether this is the name of a known image data set."""
    try:
        return len(known_data(name).shape) == IMAGE_AXES
    except DataError:
        return False


def load_images(data: Data, info: models.Info) -> Split:
    """The training and test parts, with images of the model's height and width."""
    name = data.name
    _, height, width = info.input_shape
    try:
        split = load(name, data_dir=data.folder, size=(height, width), seed=SPLIT_SEED)
    except NoImagesError:
        raise TrainingError(
            f"{name}: has no images to train {info.name} on; "
            f"give {info.dataset} or another image data set"
        ) from None
    split = limited(of_classes(split, data), data)
    for part, kind in ((split.train, "training"), (split.test, "test")):
        if not len(part):
            raise TrainingError(f"{name}: has no {kind} images; give another data set")
    return split


def of_classes(split: Split, data: Data) -> Split:
    """The requested classes of the data. Raises TrainingError if one is given twice."""
    if not data.only:
        return split
    names = class_names(split.train)
    labels = find_labels(data.only, names, data.name)
    repeated = [names[label] for label in labels if labels.count(label) > 1]
    if repeated:
        raise TrainingError(f"--classes: {repeated[0]} is given twice; give each class once")
    return Split(*(OfClasses(part, labels) for part in split))


def limited(split: Split, data: Data) -> Split:
    """At most `data.limit` samples of each part."""
    return split if data.limit is None else Split(*(_drawn(part, data.limit) for part in split))


def offer_shape(info: models.Info, shape: tuple[int, ...]) -> dict[str, Any]:
    """The options for images (C, H, W). Raises TrainingError if the model needs a different number
    of channels."""
    channels, height, _ = shape
    known = inspect.signature(info.build).parameters
    if "in_channels" not in known and channels != info.input_shape[0]:
        raise TrainingError(
            f"{info.name}: takes images of {info.input_shape[0]} channels, but these have "
            f"{channels}; choose another model or data set"
        )
    return {"in_channels": channels, "image_size": height}


def check_options(info: models.Info, given: dict[str, Any]) -> None:
    """Raises TrainingError for an option that the model's function does not have."""
    known = inspect.signature(info.build).parameters
    if unknown := [name for name in given if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'no options'}"
        raise TrainingError(f"--option {unknown[0]}: {info.name} has no such option; {hint}")


def build_model(
    info: models.Info, offered: dict[str, Any], given: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The model for the data, and the options that it was built with.

    offered: options that follow from the data, used if the function has them. given: the user's.
    """
    known = inspect.signature(info.build).parameters
    for name, value in offered.items():
        if given.get(name, value) != value:
            raise TrainingError(
                f"--option {name}: {given[name]}, but the data have {value}; leave it out"
            )
    options = {name: value for name, value in offered.items() if name in known} | given
    try:
        return info.build(**options), options
    except BUILDING as error:
        raise TrainingError(
            f"{info.name} cannot be built with {short(given or options)} ({short(error)}); "
            "check --option"
        ) from None


def rebuild_model(settings: Config) -> Any:
    """The model of a run, with newly initialised weights. Raises TrainingError if this version of
    gpudl cannot build it."""
    try:
        return models.create(settings.model, **settings.options)
    except BUILDING as error:
        raise TrainingError(
            f"{settings.model} cannot be built with {short(settings.options)} ({short(error)}); "
            "train the model again"
        ) from None


def short(value: Any) -> str:
    """At most 200 characters of a value's text, for messages."""
    text = str(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


def train_loader(part: Dataset, data: Data, training: Training, device: str) -> Loader:
    """Shuffled and augmented batches, Tensors on the device."""
    return Loader(
        part,
        training.batch_size,
        shuffle=True,
        num_workers=threads(part),
        transform=transform(part, data.mean, data.std, training.augment, training.shift),
        seed=training.seed,
        device=device,
    )


def plain_loader(
    part: Dataset, data: Data, device: str, batch_size: int = EVALUATION_BATCH
) -> Loader:
    """The images in their order, normalized as in training."""
    return Loader(
        part,
        batch_size,
        num_workers=threads(part),
        transform=transform(part, data.mean, data.std),
        seed=0,
        device=device,
    )


def statistics(part: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel for normalizing the model's input."""
    channels = part.shape[0]
    return part.mean or (0.5,) * channels, part.std or (0.5,) * channels


def make_optimizer(parameters: Any, training: Training, **changes: Any) -> Any:
    """The optimizer that `training` describes. changes: options that override its own."""
    options: dict[str, Any] = {"lr": training.lr, "weight_decay": training.weight_decay}
    if training.momentum is not None:
        options["momentum"] = training.momentum
    kinds = {name.lower(): getattr(optim, name) for name in optim.__all__}
    return kinds[training.optimizer](parameters, **options | changes)


def make_schedules(optimizer: Any, training: Training, steps: int) -> list[Schedule]:
    """The callbacks that change the learning rate, one for each optimizer of a stepper. steps: the
    total over all epochs."""
    parts = getattr(optimizer, "parts", {"": optimizer}).values()
    schedules = (_schedule(part, training, steps) for part in parts)
    return [schedule for schedule in schedules if schedule is not None]


def _schedule(optimizer: Any, training: Training, steps: int) -> Schedule | None:
    kind, epochs = training.schedule, training.epochs
    if kind == "cosine":
        return Schedule(lr_scheduler.LambdaLR(optimizer, WarmCosine(steps)))
    if kind == "step":
        every = max(1, math.ceil(epochs * STEP_EPOCHS))
        steps_at = training.milestones or tuple(range(every, epochs, every))
        factor = Steps(steps_at, training.warm_up)
        return Schedule(lr_scheduler.LambdaLR(optimizer, factor), every="epoch")
    if kind == "sqrt":
        return Schedule(lr_scheduler.InverseSqrtLR(optimizer), every="epoch")
    if kind == "plateau":
        schedule = lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_EPOCHS - 1
        )
        return Schedule(schedule, every="epoch", metric="test_loss")
    return None


class Steps:
    """Factor of the learning rate by epoch: 0.1 while warming up, then 1, and a tenth of the
    previous factor after each milestone."""

    def __init__(self, milestones: Sequence[int], warm_up: int = 0) -> None:
        self.milestones, self.warm_up = sorted(milestones), warm_up

    def __call__(self, epoch: int) -> float:
        if epoch < self.warm_up:
            return STEP_FACTOR
        return STEP_FACTOR ** bisect_right(self.milestones, epoch)


class WarmCosine:
    """Factor of the learning rate by step: a linear warm-up, then half a cosine down to 0.

    Loshchilov and Hutter, SGDR, ICLR 2017, equation 5, with one period; warm-up as in Goyal et al.
    2017.
    """

    def __init__(self, steps: int, warm_up: float = WARM_UP) -> None:
        self.steps = steps
        self.warm = max(1, round(steps * warm_up))

    def __call__(self, step: int) -> float:
        if step < self.warm:
            return (step + 1) / self.warm
        done = (step - self.warm) / max(1, self.steps - self.warm)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _drawn(part: Dataset, limit: int) -> Dataset:
    """`limit` samples drawn at random, the same every time."""
    chosen = permutation(len(part), SPLIT_SEED)[:limit]
    return Subset(part, np.sort(chosen))
