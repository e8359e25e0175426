"""Images and what they show: the loss is the cross entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import models
from gpudl.data import Split
from gpudl.ops.cross_entropy import cross_entropy
from gpudl.train import recipe
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError
from gpudl.train.objective import Objective, Supervised
from gpudl.train.picture import SAMPLE, usual_extent
from gpudl.train.tasks.base import Finished, Task


class Classification(Task):
    """The model gives logits (N, num_classes) of images (N, C, H, W)."""

    name = "classification"

    def describe(self, split: Split) -> dict[str, Any]:
        part = split.train
        mean, std = recipe.statistics(part)
        classes = part.classes or tuple(map(str, range(int(part.labels.max()) + 1)))
        extent = usual_extent(part.batch(np.arange(min(len(part), SAMPLE)))[0])
        return {"classes": classes, "mean": mean, "std": std, "extent": extent}

    def offers(self, info: models.Info, split: Split, told: Data) -> dict[str, Any]:
        return {"num_classes": len(told.classes), **super().offers(info, split, told)}

    def objective(self, training: Training) -> Objective:
        return Supervised(cross_entropy, training.clip)

    def fitted(self, config: Config, split: Split, name: str) -> Split:
        shape, classes = tuple(split.test.shape), split.test.classes
        if shape != config.input_shape or (classes and len(classes) != len(config.data.classes)):
            raise TrainingError(
                f"--data {name}: has images of {shape} and {len(classes)} classes, the model takes "
                f"{config.input_shape} and {len(config.data.classes)}; choose data that fit"
            )
        return split

    def summary(self, result: Any) -> str:
        return (
            f"test accuracy {result.accuracy:.4f} ({result.correct} of {len(result.labels)}), "
            f"loss {result.loss:.4f}"
        )

    def draw(self, done: Finished) -> list[str]:
        """confusion.png and mistakes.png."""
        from gpudl.train.report import draw_confusion, draw_mistakes
        from gpudl.train.report.images import MOST

        classes, result, part = done.config.data.classes, done.result, done.split.test
        counts = f"{result.correct:,} of {len(result.labels):,} right ({result.accuracy:.2%})"
        confusion, mistakes = done.place("confusion.png"), done.place("mistakes.png")
        draw_confusion(confusion, result.confusion, classes, f"{done.title}: {counts}")
        wrong = result.mistakes
        images = part.batch(wrong[: MOST + 1])[0] if len(wrong) else np.empty((0, *part.shape))
        draw_mistakes(
            mistakes,
            images,
            result.labels[wrong],
            result.probabilities[wrong],
            classes,
            f"{done.title}: {len(wrong)} of {len(result.labels):,} test images misread",
        )
        return [confusion.name, mistakes.name]
