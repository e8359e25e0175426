"""What all tasks share: their defaults, their data and batches, and what a finished run shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from gpudl import models
from gpudl.data import Loader, Split
from gpudl.train import build as recipe
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError
from gpudl.train.metrics import Evaluation, class_logits
from gpudl.train.objective import Objective
from gpudl.train.run import Run, slug
from gpudl.train.trainer import Row


class Answer(Enum):
    """What a trained model says of an input that it is asked about."""

    CLASSES_OF_IMAGES = 1
    CLASSES_OF_TEXTS = 2
    IMAGES = 3  # made of images
    TEXT = 4  # that goes on from a text


@dataclass(frozen=True)
class Finished:
    """A trained model with all that is known of it. data: the name of the data set that `result` is
    of, which need not be that of the training."""

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
        """Where a picture goes; that of another data set has its name in its own."""
        path = self.run.folder / name
        if self.data == self.config.data.name:
            return path
        return path.with_name(f"{path.stem}-{slug(self.data)}{path.suffix}")


class Task:
    """One kind of training. A subclass says what differs.

    unit: what is counted, in the plural. defaults: fields of Training that differ from those of
    `gpudl.train.config.default_training`.
    """

    name = ""
    unit = "images"
    defaults: Mapping[str, Any] = {}

    # ---------------------------------------------------------------- before

    def load(self, told: Data, info: models.Info, training: Training) -> Split:
        """The two parts of a data set as the model takes them: of the classes and of at most so
        many samples as `told` says."""
        return recipe.load_images(told, info)

    def describe(self, split: Split) -> dict[str, Any]:
        """The fields of `gpudl.train.config.Data` that tell of the data."""
        raise TypeError(f"{type(self).__name__} defines no describe()")

    def offers(self, info: models.Info, split: Split, told: Data) -> dict[str, Any]:
        """Arguments that the data settle, for the model's function where it has them."""
        return recipe.offer_shape(info, split.train.shape)

    def check(self, info: models.Info, model: Any, config: Config) -> None:
        """Raises TrainingError where the model cannot be trained for this task so.

        model: on meta, or with its weights.
        """

    def amount(self, split: Split) -> str:
        """How much there is to learn from, in words."""
        return f"{len(split.train):,} {self.unit}"

    # ---------------------------------------------------------------- during

    def optimizer(self, model: Any, training: Training) -> Any:
        return recipe.make_optimizer(model.parameters(), training)

    def objective(self, training: Training) -> Objective:
        """How a step is made and judged."""
        raise TypeError(f"{type(self).__name__} defines no objective()")

    def train_loader(self, split: Split, config: Config) -> Loader:
        return recipe.train_loader(split.train, config.data, config.training, config.device)

    def test_loader(
        self, split: Split, config: Config, device: str, batch_size: int = recipe.EVALUATION_BATCH
    ) -> Loader:
        return recipe.plain_loader(split.test, config.data, device, batch_size)

    def judges(self, model: Any) -> bool:
        """Whether there is anything to say of the model on the test part."""
        return True

    # ---------------------------------------------------------------- after

    def fitted(self, config: Config, split: Split, name: str) -> Split:
        """Another data set as the trained model takes it. Raises TrainingError where it cannot."""
        shape = tuple(split.test.shape)
        if shape != config.input_shape:
            raise TrainingError(
                f"--data {name}: has images of {shape}, the model takes {config.input_shape}; "
                "choose data that fit"
            )
        return split

    def answer(self, model: Any) -> Answer | None:
        """What the model can be asked for, None if nothing."""
        return None

    def classify(self, model: Any, inputs: Any) -> Any:
        """The model's logits (N, classes) of a batch, where these are its answer."""
        return class_logits(model(inputs))

    def elsewhere(self, told: Data, name: str, classes: tuple[str, ...] = ()) -> Data:
        """What is to be loaded of another data set than that of the training: the classes asked
        for, else those with the names that the model knows if it learnt from some only."""
        return replace(told, name=name, only=classes or (told.classes if told.only else ()))

    def summary(self, result: Any) -> str:
        """One line on the test part."""
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
        """Pictures and texts of a trained model into its run's folder; their names."""
        return []
