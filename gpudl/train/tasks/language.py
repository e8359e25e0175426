"""Text, character by character; the loss is in nats per character."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gpudl import models
from gpudl.core.files import write_text
from gpudl.data import Loader, Split, Streams, TextDataset, load
from gpudl.data.text import encode
from gpudl.devices.find import meta
from gpudl.ops.loss.cross_entropy import cross_entropy
from gpudl.ops.shape.create import zeros
from gpudl.train.build import is_image_set
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError
from gpudl.train.objective import (
    Batch,
    Between,
    Measured,
    Objective,
    Scores,
    each,
    evaluation_mode,
    mean_scores,
    nothing,
)
from gpudl.train.tasks.base import Answer, Finished, Task
from gpudl.train.text import continue_text

LARGEST = 709.0  # power of e that is still finite
STREAMS = 32  # parts of the test text read in parallel
SAMPLE_CHARACTERS, SAMPLE_SEED, SAMPLE_TEMPERATURE = 1000, 0, 0.8


class NextCharacter(Objective):
    """Batches are (codes, next codes), both (N, T); the model returns logits (N, T, V) and a state.

    In training each window starts without a state. The test text is read from its beginning, and
    the state is carried over.
    """

    unit = "characters"

    def __init__(self, clip: float | None = None) -> None:
        self.clip = clip

    def measure(self, model: Any, batch: Batch) -> Measured:
        return self._measure(model, batch, None)[0]

    def _measure(self, model: Any, batch: Batch, state: Any) -> tuple[Measured, Any]:
        codes, targets = batch
        logits, state = model(codes, state)
        flat = logits.reshape(-1, logits.shape[-1])
        loss = cross_entropy(flat, targets.reshape(-1))
        return Measured(loss, math.prod(codes.shape)), state

    def evaluate(self, model: Any, batches: Iterable[Batch], between: Between = nothing) -> Scores:
        state: Any = None

        def measured(batch: Batch) -> Measured:
            nonlocal state
            result, state = self._measure(model, batch, state)
            return result

        with evaluation_mode(model):
            return mean_scores(measured(batch) for batch in each(batches, between))


def load_text_parts(data: Data, info: models.Info, window: int) -> list[TextDataset]:
    """The training and test parts of a text, each longer than a window.

    Raises TrainingError if the data are not text, without reading images.
    """
    path = Path(data.name)
    if is_image_set(data.name) or path.is_dir() or path.suffix == ".npz":
        raise TrainingError(
            f"{data.name}: is not a text to train {info.name} on; "
            f"give {info.dataset} or a .txt file"
        )
    parts: list[Any] = list(load(data.name, data_dir=data.folder))
    for part in parts:
        if len(part.codes) <= window:
            raise TrainingError(
                f"--window: {window}, but a part of {data.name} has {len(part.codes)} characters; "
                "give a smaller window"
            )
    return parts


def refuse_augmentation(info: models.Info, config: Config) -> None:
    if config.training.augment != "none":
        raise TrainingError(
            f"--augment: {info.name} learns from text, which is not augmented; leave it out"
        )


class Language(Task):
    """The model maps codes (N, T) and a state to logits (N, T, vocabulary) and the next state."""

    name = "language"
    unit = "characters"
    defaults = {"augment": "none", "clip": 1.0, "window": 64}

    def load(self, data: Data, info: models.Info, training: Training) -> Split:
        if data.only:
            raise TrainingError(
                f"--classes: {info.name} learns from text, which has no classes; leave it out"
            )
        window = training.window or self.defaults["window"]
        parts = load_text_parts(data, info, window)
        return Split(*(part.windows(window, data.limit) for part in parts))

    def describe(self, split: Split) -> dict[str, Any]:
        return {"classes": split.train.classes}

    def amount(self, split: Split) -> str:
        part: Any = split.train
        return f"{len(part.codes):,} {self.unit}"

    def offers(self, info: models.Info, split: Split, data: Data) -> dict[str, Any]:
        return {"vocabulary": len(data.classes)}

    def check(self, info: models.Info, model: Any, config: Config) -> None:
        refuse_augmentation(info, config)
        classes = len(config.data.classes)
        with meta, evaluation_mode(model):
            model.to(meta)
            logits, _ = model(zeros(1, 1, dtype=np.int64), None)
        if logits.shape[-1] != classes:
            raise TrainingError(
                f"{info.name}: knows {logits.shape[-1]} characters, but the data have {classes}; "
                "check --option"
            )

    def objective(self, training: Training) -> Objective:
        return NextCharacter(training.clip)

    def train_loader(self, split: Split, config: Config) -> Loader:
        training = config.training
        return Loader(
            split.train,
            training.batch_size,
            shuffle=True,
            seed=training.seed,
            device=config.device,
        )

    def test_loader(
        self, split: Split, config: Config, device: str, batch_size: int = STREAMS
    ) -> Loader:
        part: Any = split.test
        streams = min(STREAMS, len(part))
        return Loader(Streams(part, streams), streams, device=device)

    def fitted(self, config: Config, split: Split, name: str) -> Split:
        """The text, encoded with the character codes used in training."""
        classes = config.data.classes
        if unknown := sorted(set(split.test.classes) - set(classes)):
            raise TrainingError(
                f"--data {name}: has {unknown[0]!r}, which is not in the training text; "
                "give a text without it"
            )
        parts: list[Any] = list(split)
        return Split(
            *(TextDataset(encode(part.text, classes), classes, part.window) for part in parts)
        )

    def answer(self, model: Any) -> Answer | None:
        return Answer.TEXT

    def summary(self, result: Any) -> str:
        loss = result.loss
        perplexity = math.exp(loss) if loss < LARGEST else math.inf
        return (
            f"test loss {loss:.4f} nats per character ({loss / math.log(2):.3f} bits, "
            f"perplexity {perplexity:.2f})"
        )

    def draw(self, done: Finished) -> list[str]:
        """sample.txt: the model's text after the end of a line."""
        classes = done.config.data.classes
        prompt = "\n" if "\n" in classes else classes[0]
        text = continue_text(
            done.model, classes, prompt, SAMPLE_CHARACTERS, SAMPLE_TEMPERATURE, SAMPLE_SEED
        )
        path = done.place("sample.txt")
        write_text(path, text.removeprefix("\n") + "\n")
        return [path.name]
