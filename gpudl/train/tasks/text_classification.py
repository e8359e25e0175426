"""Classification of short texts; the loss is the cross entropy.

The texts are the lines of the .txt files in a folder, one file per class. With a single text, such
as Tiny Shakespeare, the task is to tell genuine pieces of it from forgeries.
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
from gpudl.train import build
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError
from gpudl.train.objective import Objective, Supervised
from gpudl.train.tasks.base import Answer, Finished
from gpudl.train.tasks.classification import Classification, check_classes, draw_confusion
from gpudl.train.tasks.language import load_text_parts, refuse_augmentation

TRAIN, TEST = 8000, 4000  # pieces and forgeries of a single text
MISTAKES = 50  # written to mistakes.txt


class TextClassification(Classification):
    """The model returns logits (N, num_classes) for codes (N, T) of any length T, padded at the end
    with the number of characters, `vocabulary`."""

    name = "text-classification"
    unit = "texts"
    defaults = {"augment": "none", "clip": 1.0, "window": LONGEST}

    def load(self, data: Data, info: models.Info, training: Training) -> Split:
        longest = training.window or LONGEST
        if Path(data.name).is_dir():
            split = load_texts(Path(data.name), longest, build.SPLIT_SEED)
        else:
            parts = load_text_parts(data, info, longest)
            kinds = zip(parts, (TRAIN, TEST), (0, 1), strict=True)
            split = Split(*(forgeries(p, parts[0], n, longest, seed) for p, n, seed in kinds))
        return build.limited(build.of_classes(split, data), data)

    def describe(self, split: Split) -> dict[str, Any]:
        part = split.train
        return {"classes": class_names(part), "characters": part.characters}

    def offers(self, info: models.Info, split: Split, data: Data) -> dict[str, Any]:
        return {"num_classes": len(data.classes), "vocabulary": len(data.characters)}

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
        self, split: Split, config: Config, device: str, batch_size: int = build.EVALUATION_BATCH
    ) -> Loader:
        return Loader(split.test, batch_size, device=device)

    def fitted(self, config: Config, split: Split, name: str) -> Split:
        """The texts, encoded with the character codes used in training."""
        data = config.data
        if split.test.classes != data.classes:
            raise TrainingError(
                f"--data {name}: has the classes {', '.join(split.test.classes)}, but the model "
                f"has {', '.join(data.classes)}; choose matching data"
            )
        if unknown := sorted(set(split.test.characters) - set(data.characters)):
            raise TrainingError(
                f"--data {name}: has {unknown[0]!r}, which is not in the training texts; "
                "give texts without it"
            )
        numbers = encode("".join(split.test.characters), data.characters)
        numbers = np.append(numbers, len(data.characters))  # the padding
        return Split(*(_renumbered(part, numbers, data) for part in split))

    def answer(self, model: Any) -> Answer | None:
        return Answer.CLASSES_OF_TEXTS

    def draw(self, done: Finished) -> list[str]:
        """confusion.png, and mistakes.txt with the most confident mistakes first."""
        data, result = done.config.data, done.result
        wrong = result.mistakes[:MISTAKES]
        codes = done.split.test.batch(wrong)[0]
        lines = [
            f"{data.classes[result.labels[i]]}, taken for {data.classes[result.predictions[i]]} "
            f"({result.probabilities[i].max():.4f}): {unpadded(row, data.characters)!r}"
            for i, row in zip(wrong, codes, strict=True)
        ]
        mistakes = done.place("mistakes.txt")
        write_text(mistakes, "\n".join(lines) + "\n")  # first: it needs no Matplotlib
        return [mistakes.name, draw_confusion(done)]


def _renumbered(part: Any, numbers: Any, data: Data) -> LabelledTexts:
    codes, labels = part.batch(np.arange(len(part)))
    return LabelledTexts(numbers[codes], labels, data.classes, data.characters)
