"""Images and what they show: the loss is the cross entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import models
from gpudl.data import Split, class_names
from gpudl.devices.find import meta
from gpudl.ops.loss.cross_entropy import cross_entropy
from gpudl.ops.shape.create import zeros
from gpudl.train import build as recipe
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError
from gpudl.train.objective import Objective, Supervised, evaluation_mode
from gpudl.train.picture import SAMPLE, usual_extent
from gpudl.train.tasks.base import Answer, Finished, Task


class Classification(Task):
    """The model gives logits (N, num_classes) of images (N, C, H, W)."""

    name = "classification"

    def describe(self, split: Split) -> dict[str, Any]:
        part = split.train
        mean, std = recipe.statistics(part)
        classes = class_names(part)
        extent = usual_extent(part.batch(np.arange(min(len(part), SAMPLE)))[0])
        return {"classes": classes, "mean": mean, "std": std, "extent": extent}

    def offers(self, info: models.Info, split: Split, told: Data) -> dict[str, Any]:
        return {"num_classes": len(told.classes), **super().offers(info, split, told)}

    def check(self, info: models.Info, model: Any, config: Config) -> None:
        check_classes(self, info, model, config)

    def objective(self, training: Training) -> Objective:
        return Supervised(cross_entropy, training.clip)

    def fitted(self, config: Config, split: Split, name: str) -> Split:
        return same_classes(config, super().fitted(config, split, name), name)

    def answer(self, model: Any) -> Answer | None:
        return Answer.CLASSES_OF_IMAGES

    def draw(self, done: Finished) -> list[str]:
        """confusion.png and mistakes.png."""
        return [draw_confusion(done), draw_mistakes(done)]


def check_classes(
    task: Task, info: models.Info, model: Any, config: Config, dtype: Any = np.float32
) -> None:
    """Raises TrainingError where the model does not take the samples, or has not a logit for each
    class."""
    classes, shape = len(config.data.classes), config.input_shape
    if classes < 2:
        raise TrainingError(
            f"{config.data.name}: has {classes} class to choose from; give two or more, "
            "by --classes or with other data"
        )
    try:
        with meta, evaluation_mode(model):
            model.to(meta)  # what is made of NumPy arrays is not there yet
            outputs = task.classify(model, zeros(1, *shape, dtype=dtype)).shape[1]
    except ValueError as error:
        raise TrainingError(
            f"{info.name} with {config.options} does not take samples of {shape} ({error}); "
            "check --option"
        ) from None
    if outputs != classes:
        raise TrainingError(
            f"{info.name}: tells {outputs} classes apart, the data have {classes}; "
            f"give {outputs} with --classes"
        )


def same_classes(config: Config, split: Split, name: str) -> Split:
    """Raises TrainingError where other data have another number of classes than the model's."""
    classes, known = split.test.classes, config.data.classes
    if classes and len(classes) != len(known):
        raise TrainingError(
            f"--data {name}: has {len(classes)} classes, the model tells {len(known)}; "
            "choose data that fit"
        )
    return split


def draw_confusion(done: Finished) -> str:
    from gpudl.train import report

    result, path = done.result, done.place("confusion.png")
    counts = f"{result.correct:,} of {len(result.labels):,} right ({result.accuracy:.2%})"
    classes = done.config.data.classes
    report.draw_confusion(path, result.confusion, classes, f"{done.title}: {counts}")
    return path.name


def draw_mistakes(done: Finished) -> str:
    """The misread images, those the model was surest about first."""
    from gpudl.train import report
    from gpudl.train.report.images import MOST

    result, part, path = done.result, done.split.test, done.place("mistakes.png")
    wrong = result.mistakes
    images = part.batch(wrong[: MOST + 1])[0] if len(wrong) else np.empty((0, *part.shape))
    report.draw_mistakes(
        path,
        images,
        result.labels[wrong],
        result.probabilities[wrong],
        done.config.data.classes,
        f"{done.title}: {len(wrong)} of {len(result.labels):,} test images misread",
    )
    return path.name
