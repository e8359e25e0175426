"""Classification of images; the loss is the cross entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import models
from gpudl.data import Split, class_names
from gpudl.devices.find import meta
from gpudl.ops.loss.cross_entropy import cross_entropy
from gpudl.ops.shape.create import zeros
from gpudl.train import build
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError
from gpudl.train.metrics import confusion_matrix
from gpudl.train.objective import Objective, Supervised, evaluation_mode
from gpudl.train.picture import framing
from gpudl.train.tasks.base import Answer, Finished, Task

MOST_CELLS = 1000  # along a side of the confusion matrix that is drawn


class Classification(Task):
    """The model returns logits (N, num_classes) for images (N, C, H, W)."""

    name = "classification"

    def describe(self, split: Split) -> dict[str, Any]:
        part = split.train
        mean, std = build.statistics(part)
        classes = class_names(part)
        return {"classes": classes, "mean": mean, "std": std, **framing(part)}

    def offers(self, info: models.Info, split: Split, data: Data) -> dict[str, Any]:
        return {"num_classes": len(data.classes), **super().offers(info, split, data)}

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
    """Raises TrainingError if the model does not accept the samples or does not return one logit
    per class."""
    classes, shape = len(config.data.classes), config.input_shape
    if classes < 2:
        found = "1 class" if classes else "no classes"
        raise TrainingError(
            f"{config.data.name}: has {found}, expected two or more; "
            "choose other --classes or other data"
        )
    try:
        with meta, evaluation_mode(model):
            model.to(meta)  # tensors made from NumPy arrays are not on meta yet
            outputs = task.classify(model, zeros(1, *shape, dtype=dtype)).shape[1]
    except ValueError as error:
        raise TrainingError(
            f"{info.name} with {config.options} does not accept samples of shape {shape} "
            f"({error}); check --option"
        ) from None
    if outputs != classes:
        raise TrainingError(
            f"{info.name}: distinguishes {outputs} classes, but the data have {classes}; "
            f"choose {outputs} with --classes"
        )


def same_classes(config: Config, split: Split, name: str) -> Split:
    """Raises TrainingError if other data have another number of classes than the model."""
    classes, known = split.test.classes, config.data.classes
    if classes and len(classes) != len(known):
        raise TrainingError(
            f"--data {name}: has {len(classes)} classes, but the model has {len(known)}; "
            "choose matching data"
        )
    return split


def draw_confusion(done: Finished) -> str:
    from gpudl.train import report

    result, path = done.result, done.place("confusion.png")
    counts = f"{result.correct:,} of {len(result.labels):,} right ({result.accuracy:.2%})"
    classes, count = done.config.data.classes, result.logits.shape[1]
    step = -(-count // MOST_CELLS)
    if step > 1:
        counts += f"; each cell is of {step} classes"
    labels = result.predictions // step, result.labels // step
    matrix = confusion_matrix(*labels, -(-count // step))
    report.draw_confusion(path, matrix, classes[::step], f"{done.title}: {counts}")
    return path.name


def draw_mistakes(done: Finished) -> str:
    """The misread images, the most confident mistakes first."""
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
