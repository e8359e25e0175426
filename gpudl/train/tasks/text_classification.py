"""Short texts and what they are: the loss is the cross entropy.

The texts are the lines of .txt files, one file a class, in a folder. Of a single text, as tiny
Shakespeare is, pieces are to be told from forgeries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gpudl import models
from gpudl.core.files import write_text
from gpudl.data import LabelledTexts, Loader, Split, class_names, forgeries, load_texts
from gpudl.data.labelled_text import LONGEST, unpadded
from gpudl.data.text import encode
from gpudl.ops.loss.cross_entropy import cross_entropy
from gpudl.train import build as recipe
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError
from gpudl.train.objective import Objective, Supervised
from gpudl.train.tasks.base import Answer, Finished
from gpudl.train.tasks.classification import Classification, check_classes, draw_confusion
from gpudl.train.tasks.language import load_text_parts, refuse_augmentation

TRAIN, TEST = 8000, 4000  # pieces of a single text and forgeries
MISTAKES = 50  # that are written down


class TextClassification(Classification):
    """The model gives logits (N, num_classes) of codes (N, T), padded at their ends with the number
    of characters, `vocabulary`; T is any."""

    name = "text-classification"
    unit = "texts"
    defaults = {"augment": "none", "clip": 1.0, "window": LONGEST}

    def load(self, told: Data, info: models.Info, training: Training) -> Split:
        longest = training.window or LONGEST
        if Path(told.name).is_dir():
            split = load_texts(Path(told.name), longest, recipe.SPLIT_SEED)
        else:
            parts = load_text_parts(told, info, longest)
            kinds = zip(parts, (TRAIN, TEST), (0, 1), strict=True)
            split = Split(*(forgeries(p, parts[0], n, longest, seed) for p, n, seed in kinds))
        return recipe.limited(recipe.of_classes(split, told), told)

    def describe(self, split: Split) -> dict[str, Any]:
        part = split.train
        return {"classes": class_names(part), "characters": part.characters}

    def offers(self, info: models.Info, split: Split, told: Data) -> dict[str, Any]:
        return {"num_classes": len(told.classes), "vocabulary": len(told.characters)}

    def check(self, info: models.Info, model: Any, config: Config) -> None:
        check_classes(self, info, model, config, np.int64)
        refuse_augmentation(info, config)

    def objective(self, training: Training) -> Objective:
        return Supervised(cross_entropy, training.clip, self.unit)

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
        self, split: Split, config: Config, device: str, batch_size: int = recipe.EVALUATION_BATCH
    ) -> Loader:
        return Loader(split.test, batch_size, device=device)

    def fitted(self, config: Config, split: Split, name: str) -> Split:
        """The texts in the numbers of the training's characters."""
        told = config.data
        if split.test.classes != told.classes:
            raise TrainingError(
                f"--data {name}: has the classes {', '.join(split.test.classes)}, the model tells "
                f"{', '.join(told.classes)}; choose data that fit"
            )
        if unknown := sorted(set(split.test.characters) - set(told.characters)):
            raise TrainingError(
                f"--data {name}: has {unknown[0]!r}, which the texts of the training have not; "
                "give texts without it"
            )
        numbers = encode("".join(split.test.characters), told.characters)
        numbers = np.append(numbers, len(told.characters))  # the padding
        return Split(*(_renumbered(part, numbers, told) for part in split))

    def answer(self, model: Any) -> Answer | None:
        return Answer.CLASSES_OF_TEXTS

    def draw(self, done: Finished) -> list[str]:
        """confusion.png, and mistakes.txt with the texts that the model was surest about first."""
        told, result = done.config.data, done.result
        wrong = result.mistakes[:MISTAKES]
        codes = done.split.test.batch(wrong)[0]
        lines = [
            f"{told.classes[result.labels[i]]}, taken for {told.classes[result.predictions[i]]} "
            f"({result.probabilities[i].max():.4f}): {unpadded(row, told.characters)!r}"
            for i, row in zip(wrong, codes, strict=True)
        ]
        mistakes = done.place("mistakes.txt")
        write_text(mistakes, "\n".join(lines) + "\n")  # first: it needs no Matplotlib
        return [mistakes.name, draw_confusion(done)]


def _renumbered(part: Any, numbers: Any, told: Data) -> LabelledTexts:
    codes, labels = part.batch(np.arange(len(part)))
    return LabelledTexts(numbers[codes], labels, told.classes, told.characters)
