"""The base of all tasks: defaults, data and batches, and the results of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from gpudl import models
from gpudl.data import Loader, Split
from gpudl.train import build
from gpudl.train.config import Config, Data, Training
from gpudl.train.epochs import Row
from gpudl.train.errors import TrainingError
from gpudl.train.metrics import Evaluation, class_logits
from gpudl.train.objective import Objective
from gpudl.train.run import Run, slug


class Answer(Enum):
    """What a trained model answers for an input."""

    CLASSES_OF_IMAGES = 1
    CLASSES_OF_TEXTS = 2
    IMAGES = 3  # computed from images
    TEXT = 4  # that continues a text


@dataclass(frozen=True)
class Finished:
    """A trained model and its results. data: the name of the data set of `result`, which may differ
    from the one trained on."""

    run: Run
    config: Config
    model: Any
    split: Split
    data: str
    result: Any
    history: list[Row]

    @property
    def title(self) -> str:
        return f"{self.config.model} on {Path(self.data).name}"

    def place(self, name: str) -> Path:
        """The path of a picture; for another data set, the file name contains that set's name."""
        path = self.run.folder / name
        if self.data == self.config.data.name:
            return path
        return path.with_name(f"{path.stem}-{slug(self.data)}{path.suffix}")


class Task:
    """One kind of training. Subclasses define what differs.

    unit: what is counted, in the plural. defaults: fields of Training that differ from those of
    `gpudl.train.config.default_training`.
    """

    name = ""
    unit = "images"
    defaults: Mapping[str, Any] = {}

    # ---------------------------------------------------------------- before

    def load(self, data: Data, info: models.Info, training: Training) -> Split:
        """The training and test parts as the model takes them, with the classes and the limit of
        `data`."""
        return build.load_images(data, info)

    def describe(self, split: Split) -> dict[str, Any]:
        """The fields of `gpudl.train.config.Data` that describe the data."""
        raise TypeError(f"{type(self).__name__} must define describe()")

    def offers(self, info: models.Info, split: Split, data: Data) -> dict[str, Any]:
        """Arguments that follow from the data, for the model's function if it has them."""
        return build.offer_shape(info, split.train.shape)

    def check(self, info: models.Info, model: Any, config: Config) -> None:
        """Raises TrainingError if the model cannot be trained for this task with these settings.

        model: on meta, or with its weights.
        """

    def amount(self, split: Split) -> str:
        """The amount of training data, in words."""
        return f"{len(split.train):,} {self.unit}"

    # ---------------------------------------------------------------- during

    def optimizer(self, model: Any, training: Training) -> Any:
        return build.make_optimizer(model.parameters(), training)

    def objective(self, training: Training) -> Objective:
        """How a training step and an evaluation are done."""
        raise TypeError(f"{type(self).__name__} must define objective()")

    def train_loader(self, split: Split, config: Config) -> Loader:
        return build.train_loader(split.train, config.data, config.training, config.device)

    def test_loader(
        self, split: Split, config: Config, device: str, batch_size: int = build.EVALUATION_BATCH
    ) -> Loader:
        return build.plain_loader(split.test, config.data, device, batch_size)

    def judges(self, model: Any) -> bool:
        """Whether the model has a metric on the test part."""
        return True

    # ---------------------------------------------------------------- after

    def fitted(self, config: Config, split: Split, name: str) -> Split:
        """Another data set as the trained model takes it. Raises TrainingError if it cannot."""
        shape = tuple(split.test.shape)
        if shape != config.input_shape:
            raise TrainingError(
                f"--data {name}: has images of shape {shape}, but the model takes "
                f"{config.input_shape}; choose matching data"
            )
        return split

    def answer(self, model: Any) -> Answer | None:
        """What the model answers for an input; None if nothing."""
        return None

    def classify(self, model: Any, inputs: Any) -> Any:
        """The model's logits (N, classes) for a batch, if it answers with classes."""
        return class_logits(model(inputs))

    def elsewhere(self, data: Data, name: str, classes: tuple[str, ...] = ()) -> Data:
        """The settings for loading a data set other than the one trained on.

        classes: those to use; by default the model's classes if it was trained on only some of
        them, otherwise all.
        """
        return replace(data, name=name, only=classes or (data.classes if data.only else ()))

    def summary(self, result: Any) -> str:
        """One line about the result on the test part."""
        if isinstance(result, Evaluation):
            return (
                f"test accuracy {result.accuracy:.4f} ({result.correct} of {len(result.labels)}), "
                f"loss {result.loss:.4f}"
            )
        return ", ".join(
            f"test {name.replace('_', ' ')} {value:.4f}"
            for name, value in {"loss": result.loss, **result.others}.items()
        )

    def draw(self, done: Finished) -> list[str]:
        """Write pictures and texts of a trained model to its run's folder. Returns their names."""
        return []
