"""Judge a trained model on its test part, or on another data set.

Of a classifier: prints the accuracy class by class and writes confusion.png and mistakes.png into
the run's folder. Of others: prints the test loss and writes what they reconstruct or make up.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from gpudl.cli.arguments import add_classes, add_data, add_device, choose_device, positive
from gpudl.cli.errors import CommandError
from gpudl.cli.table import table

if TYPE_CHECKING:
    from gpudl.train import Evaluation
    from gpudl.train.tasks import Task
    from gpudl.train.tasks.base import Finished

MOST_CLASSES = 100  # in the table


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="RUN", help="folder of a training, runs/lenet5-digits-1 say"
    )
    add_data(parser, "that of the training")
    add_classes(parser, "of the data those that stand for the model's, in their order")
    add_device(parser)
    parser.add_argument(
        "--batch-size", type=positive, default=256, metavar="N", help="(default: 256)"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="judge by N samples only")


def run(options: argparse.Namespace) -> int:
    from gpudl.train import Run, blas
    from gpudl.train.job import trained_model
    from gpudl.train.prepare import find_model
    from gpudl.train.tasks import task_of
    from gpudl.train.tasks.base import Finished

    run = Run.open(options.folder)
    config = run.config()
    info = find_model(config.model)
    task = task_of(info)
    device = choose_device(options.device)
    blas.set_threads(config.training.blas_threads)
    model, which = trained_model(run, config, device)
    if not task.judges(model):
        raise CommandError(
            f"{config.model}: nothing is measured of it on test data; "
            f"see the pictures in {run} instead"
        )
    told = replace(
        config.data,
        folder=options.data_dir or config.data.folder,
        limit=options.limit or config.data.limit,
    )
    name = told.name if options.data is None else options.data
    if name != told.name or options.classes:
        told = task.elsewhere(told, name, options.classes or ())
    split = task.fitted(config, task.load(told, info, config.training), name)
    loader = task.test_loader(split, config, device, options.batch_size)
    result = task.objective(config.training).evaluate(model, loader)
    print(f"{config.model} of {run}, {which}, on {name}, {device}")
    _report(task, Finished(run, config, model, split, name, result, []))
    return 0


def _report(task: Task, done: Finished) -> None:
    from gpudl.train import Evaluation, TrainingError

    classes = done.config.data.classes
    if isinstance(done.result, Evaluation) and len(classes) <= MOST_CLASSES:
        print(by_class(done.result, classes, task.unit))
    try:
        written = task.draw(done)
        if written:
            print(f"wrote {' and '.join(str(done.run.folder / name) for name in written)}")
    except TrainingError as error:
        print(f"no pictures: {error}")
    print(task.summary(done.result))


def by_class(result: Evaluation, classes: tuple[str, ...], unit: str) -> str:
    """A table: of each class how many were right, and what it was mostly taken for otherwise."""
    rows = []
    for number, name in enumerate(classes):
        row = result.confusion[number].copy()
        right, count = int(row[number]), int(row.sum())
        row[number] = 0
        mostly = f"{classes[row.argmax()]} ({row.max()})" if row.any() else ""
        share = f"{right / count:.4f}" if count else ""
        rows.append((name, str(count), str(right), share, mostly))
    head = ("class", unit, "right", "accuracy", "otherwise mostly")
    return table(head, rows, right=(1, 2, 3))
