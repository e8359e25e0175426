"""From a configuration to what is trained: data, model, optimizer, schedule."""

from __future__ import annotations

import difflib
import inspect
import math
import os
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
    transforms,
)
from gpudl.data import info as known_data
from gpudl.data.errors import DataError, NoImagesError
from gpudl.data.shuffle import permutation
from gpudl.optim import lr_scheduler
from gpudl.train.callbacks import Schedule
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError

WARM_UP = 0.1  # of all steps
STEP_EPOCHS, STEP_FACTOR = 1 / 3, 0.1
PLATEAU_EPOCHS, PLATEAU_FACTOR = 3, 0.5
SPLIT_SEED = 0  # of the held-out part: the same for all runs, so that their accuracies compare
EVALUATION_BATCH = 256
MOST_THREADS = 8  # each may hold two batches
# What a function with wrong options raises.
BUILDING = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
IMAGE_AXES = 3  # (C, H, W)


def is_image_set(name: str) -> bool:
    """Whether it is the name of a data set of images."""
    try:
        return len(known_data(name).shape) == IMAGE_AXES
    except DataError:
        return False


def load_images(told: Data, info: models.Info) -> Split:
    """The two parts, with images of the height and width that the model takes."""
    name = told.name
    _, height, width = info.input_shape
    try:
        split = load(name, data_dir=told.folder, size=(height, width), seed=SPLIT_SEED)
    except NoImagesError:
        raise TrainingError(
            f"{name}: has no images, which {info.name} learns from; "
            f"give {info.dataset} or another data set of images"
        ) from None
    split = limited(of_classes(split, told), told)
    for part, kind in ((split.train, "training"), (split.test, "test")):
        if not len(part):
            raise TrainingError(f"{name}: has no {kind} images; give another data set")
    return split


def of_classes(split: Split, told: Data) -> Split:
    """The classes of the data that were asked for. Raises TrainingError where one comes twice."""
    if not told.only:
        return split
    names = class_names(split.train)
    labels = find_labels(told.only, names, told.name)
    twice = [names[label] for label in labels if labels.count(label) > 1]
    if twice:
        raise TrainingError(f"--classes: {twice[0]} is given twice; give each class once")
    return Split(*(OfClasses(part, labels) for part in split))


def limited(split: Split, told: Data) -> Split:
    """At most so many samples of each part as were asked for."""
    return split if told.limit is None else Split(*(_first(part, told.limit) for part in split))


def offer_shape(info: models.Info, shape: tuple[int, ...]) -> dict[str, Any]:
    """The options for images (C, H, W). Raises TrainingError where the model takes other
    channels."""
    channels, height, _ = shape
    known = inspect.signature(info.build).parameters
    if "in_channels" not in known and channels != info.input_shape[0]:
        raise TrainingError(
            f"{info.name}: takes images of {info.input_shape[0]} channels, these have {channels}; "
            "choose another model or data set"
        )
    return {"in_channels": channels, "image_size": height}


def check_options(info: models.Info, given: dict[str, Any]) -> None:
    """Raises TrainingError for an option that the model's function has not."""
    known = inspect.signature(info.build).parameters
    if unknown := [name for name in given if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'no options'}"
        raise TrainingError(f"--option {unknown[0]}: {info.name} has none of that name; {hint}")


def build_model(
    info: models.Info, offered: dict[str, Any], given: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The model for the data, and all options that it was built with.

    offered: options that the data settle, for the functions that have them. given: the user's.
    """
    known = inspect.signature(info.build).parameters
    for name, value in offered.items():
        if given.get(name, value) != value:
            raise TrainingError(
                f"--option {name}: {given[name]}, but the data have {value}; leave it away"
            )
    options = {name: value for name, value in offered.items() if name in known} | given
    try:
        return info.build(**options), options
    except BUILDING as error:
        raise TrainingError(
            f"{info.name} cannot be built with {given or options} ({error}); check --option"
        ) from None


def rebuild_model(settings: Config) -> Any:
    """The model of a run, with new weights. Raises TrainingError where this version of gpudl builds
    it otherwise."""
    try:
        return models.create(settings.model, **settings.options)
    except BUILDING as error:
        raise TrainingError(
            f"{settings.options}: do not fit {settings.model} ({error}); train the model again"
        ) from None


def train_loader(part: Dataset, told: Data, training: Training, device: str) -> Loader:
    """Shuffled and augmented batches, Tensors on the device."""
    return Loader(
        part,
        training.batch_size,
        shuffle=True,
        num_workers=_threads(part),
        transform=_transform(part, told, training.augment, training.shift),
        seed=training.seed,
        device=device,
    )


def plain_loader(
    part: Dataset, told: Data, device: str, batch_size: int = EVALUATION_BATCH
) -> Loader:
    """The images in their order, normalized as those of the training were."""
    transform = _transform(part, told)
    return Loader(part, batch_size, num_workers=_threads(part), transform=transform, device=device)


def _threads(part: Dataset) -> int:
    """That prepare batches, which do not depend on their number."""
    return min(MOST_THREADS, os.cpu_count() or 1) if part.from_files else 1


def _transform(
    part: Dataset, told: Data, augment: str = "none", shift: int = 0
) -> transforms.Transform:
    steps: list[transforms.Transform] = []
    if "shift" in augment:
        height, width = part.shape[1:]
        steps.append(transforms.RandomCrop((height, width), shift))
    if "flip" in augment:
        steps.append(transforms.RandomHorizontalFlip())
    return transforms.Compose(
        [*steps, transforms.ToFloat(), transforms.Normalize(told.mean, told.std)]
    )


def statistics(part: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel that the model's input is normalized with."""
    channels = part.shape[0]
    return part.mean or (0.5,) * channels, part.std or (0.5,) * channels


def make_optimizer(parameters: Any, training: Training, **changes: Any) -> Any:
    """The optimizer of a training. changes: of its options."""
    options: dict[str, Any] = {"lr": training.lr, "weight_decay": training.weight_decay}
    if training.momentum is not None:
        options["momentum"] = training.momentum
    kinds = {
        "adam": optim.Adam,
        "adamw": optim.AdamW,
        "sgd": optim.SGD,
        "rmsprop": optim.RMSprop,
        "adagrad": optim.Adagrad,
    }
    return kinds[training.optimizer](parameters, **options | changes)


def make_schedules(optimizer: Any, training: Training, steps: int) -> list[Schedule]:
    """The callbacks that move the learning rate, one for each optimizer of a stepper; `steps` are
    those of all epochs together."""
    parts = getattr(optimizer, "parts", {"": optimizer}).values()
    made = (_schedule(part, training, steps) for part in parts)
    return [schedule for schedule in made if schedule is not None]


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
    """Factor of the learning rate by epoch: a tenth while warming up, then 1, and a tenth of what
    it was after each milestone."""

    def __init__(self, milestones: Sequence[int], warm_up: int = 0) -> None:
        self.milestones, self.warm_up = sorted(milestones), warm_up

    def __call__(self, epoch: int) -> float:
        if epoch < self.warm_up:
            return STEP_FACTOR
        return STEP_FACTOR ** bisect_right(self.milestones, epoch)


class WarmCosine:
    """Factor of the learning rate by step: up in a line, then half a cosine down to 0.

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


def _first(part: Dataset, limit: int) -> Dataset:
    """`limit` samples drawn from all classes alike, the same every time."""
    chosen = permutation(len(part), SPLIT_SEED)[:limit]
    return Subset(part, np.sort(chosen))
