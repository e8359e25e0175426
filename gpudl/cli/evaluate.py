"""Judge a trained model on its test images, or on another data set.

Prints the accuracy class by class and writes confusion.png and mistakes.png into the run's folder.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gpudl.cli.arguments import add_data, add_device, choose_device, positive
from gpudl.cli.errors import CommandError
from gpudl.cli.table import table

if TYPE_CHECKING:
    from gpudl.train import Config, Evaluation

MOST_CLASSES = 100  # in the table


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="RUN", help="folder of a training, runs/lenet5-digits-1 say"
    )
    add_data(parser, "that of the training")
    add_device(parser)
    parser.add_argument(
        "--batch-size", type=positive, default=256, metavar="N", help="(default: 256)"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="judge by N images only")


def run(options: argparse.Namespace) -> int:
    from gpudl import models
    from gpudl.ops.cross_entropy import cross_entropy
    from gpudl.train import Run, TrainingError, blas, evaluate, recipe
    from gpudl.train.job import draw_answers, trained_model

    run = Run.open(options.folder)
    config = run.config()
    device = choose_device(options.device)
    blas.set_threads(config.training.blas_threads)
    model, which = trained_model(run, config, device)
    name = options.data or config.data.name
    folder = options.data_dir or config.data.folder
    limit = options.limit or config.data.limit
    split, shape = recipe.load_data(name, folder, limit, models.info(config.model))
    _check_fit(config, name, shape, split.test.classes)
    loader = recipe.plain_loader(split.test, config.data, device, options.batch_size)
    result = evaluate(model, cross_entropy, loader)
    print(f"{config.model} of {run}, {which}, on {name}, {device}")
    if len(config.data.classes) <= MOST_CLASSES:
        print(by_class(result, config.data.classes))
    try:
        pictures = draw_answers(run, config, name, split.test, result)
        print(f"wrote {' and '.join(str(run.folder / picture) for picture in pictures)}")
    except TrainingError as error:
        print(f"no pictures: {error}")
    print(
        f"test accuracy {result.accuracy:.4f} ({result.correct} of {len(result.labels)}), "
        f"loss {result.loss:.4f}"
    )
    return 0


def by_class(result: Evaluation, classes: tuple[str, ...]) -> str:
    """A table: of each class how many were right, and what it was mostly taken for otherwise."""
    rows = []
    for number, name in enumerate(classes):
        row = result.confusion[number].copy()
        right, images = int(row[number]), int(row.sum())
        row[number] = 0
        mostly = f"{classes[row.argmax()]} ({row.max()})" if row.any() else ""
        share = f"{right / images:.4f}" if images else ""
        rows.append((name, str(images), str(right), share, mostly))
    head = ("class", "images", "right", "accuracy", "otherwise mostly")
    return table(head, rows, right=(1, 2, 3))


def _check_fit(config: Config, name: str, shape: tuple[int, ...], classes: tuple[str, ...]) -> None:
    if shape != config.input_shape or (classes and len(classes) != len(config.data.classes)):
        raise CommandError(
            f"--data {name}: has images of {shape} and {len(classes)} classes, the model takes "
            f"{config.input_shape} and {len(config.data.classes)}; choose data that fit"
        )
