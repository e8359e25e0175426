"""Text, character by character: the loss is in nats per character."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpudl import models
from gpudl.core.files import write_text
from gpudl.data import Loader, Split, Streams, TextDataset, load
from gpudl.data.text import encode
from gpudl.ops.loss.cross_entropy import cross_entropy
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

STREAMS = 32  # parts of the test text that are read side by side
SAMPLE_CHARACTERS, SAMPLE_SEED, SAMPLE_TEMPERATURE = 1000, 0, 0.8


class NextCharacter(Objective):
    """Batches are (codes, next codes), both (N, T); the model gives logits (N, T, V) and a state.

    In training each window begins without a state. The test text is read from its beginning on,
    the state carried along.
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
            found, state = self._measure(model, batch, state)
            return found

        with evaluation_mode(model):
            return mean_scores(measured(batch) for batch in each(batches, between))


def load_text_parts(told: Data, info: models.Info, window: int) -> list[TextDataset]:
    """A text to learn from and one to be judged by, each longer than a window.

    Raises TrainingError for data that are no text; images are not read for that.
    """
    path = Path(told.name)
    if is_image_set(told.name) or path.is_dir() or path.suffix == ".npz":
        raise TrainingError(
            f"{told.name}: is no text, which {info.name} learns from; "
            f"give {info.dataset} or a .txt file"
        )
    parts: list[Any] = list(load(told.name, data_dir=told.folder))
    for part in parts:
        if len(part.codes) <= window:
            raise TrainingError(
                f"--window: {window}, but a part of {told.name} has {len(part.codes)} characters; "
                "give a smaller one"
            )
    return parts


def refuse_augmentation(info: models.Info, config: Config) -> None:
    if config.training.augment != "none":
        raise TrainingError(
            f"--augment: {info.name} learns from text, which has no images to change; leave it away"
        )


class Language(Task):
    """The model takes codes (N, T) and a state, and gives logits (N, T, vocabulary) and a state."""

    name = "language"
    unit = "characters"
    defaults = {"augment": "none", "clip": 1.0, "window": 64}

    def load(self, told: Data, info: models.Info, training: Training) -> Split:
        if told.only:
            raise TrainingError(f"--classes: {info.name} learns from text as it is; leave it away")
        window = training.window or self.defaults["window"]
        parts = load_text_parts(told, info, window)
        return Split(*(part.windows(window, told.limit) for part in parts))

    def describe(self, split: Split) -> dict[str, Any]:
        return {"classes": split.train.classes}

    def amount(self, split: Split) -> str:
        part: Any = split.train
        return f"{len(part.codes):,} {self.unit}"

    def offers(self, info: models.Info, split: Split, told: Data) -> dict[str, Any]:
        return {"vocabulary": len(told.classes)}

    def check(self, info: models.Info, model: Any, config: Config) -> None:
        refuse_augmentation(info, config)

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
        """The text in the numbers of the training's characters."""
        classes = config.data.classes
        if unknown := sorted(set(split.test.classes) - set(classes)):
            raise TrainingError(
                f"--data {name}: has {unknown[0]!r}, which the text of the training has not; "
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
        return (
            f"test loss {loss:.4f} nats per character ({loss / math.log(2):.3f} bits, "
            f"perplexity {math.exp(loss):.2f})"
        )

    def draw(self, done: Finished) -> list[str]:
        """sample.txt: how the model goes on from a line's end."""
        classes = done.config.data.classes
        prompt = "\n" if "\n" in classes else classes[0]
        text = continue_text(
            done.model, classes, prompt, SAMPLE_CHARACTERS, SAMPLE_TEMPERATURE, SAMPLE_SEED
        )
        path = done.place("sample.txt")
        write_text(path, text.removeprefix("\n") + "\n")
        return [path.name]
