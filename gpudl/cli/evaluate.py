"""Evaluate a trained model on its test part, or on another data set.

For a classifier: prints the accuracy by class and writes confusion.png and mistakes.png to the
run's folder. For other models: prints the test loss and writes reconstructions, samples or text.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from gpudl.cli.arguments import add_classes, add_data, add_device, choose_device, positive
from gpudl.cli.errors import CommandError
from gpudl.cli.table import table
from gpudl.core.terminal import say

if TYPE_CHECKING:
    from gpudl.train import Evaluation
    from gpudl.train.tasks import Task
    from gpudl.train.tasks.base import Finished

MOST_CLASSES = 100  # in the table


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="RUN", help="folder of a run, for example runs/lenet5-digits-1"
    )
    add_data(parser, "the one trained on")
    add_classes(parser, "classes of the data that correspond to the model's, in the same order")
    add_device(parser)
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=256,
        metavar="N",
        help="samples per batch (default: 256)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="use at most N samples")


def run(options: argparse.Namespace) -> int:
    import numpy as np

    from gpudl.train import blas
    from gpudl.train.job import open_run, trained_model
    from gpudl.train.metrics import require_numbers
    from gpudl.train.prepare import find_model
    from gpudl.train.tasks import task_of
    from gpudl.train.tasks.base import Finished

    run, config = open_run(options.folder)
    info = find_model(config.model)
    task = task_of(info)
    device = choose_device(options.device)
    blas.set_threads(config.training.blas_threads)
    model, which = trained_model(run, config, device)
    if not task.judges(model):
        raise CommandError(
            f"{config.model}: has no metric on test data; see the pictures in {run} instead"
        )
    data = replace(
        config.data,
        folder=options.data_dir or config.data.folder,
        limit=options.limit or config.data.limit,
    )
    name = data.name if options.data is None else options.data
    if name != data.name or options.classes:
        data = task.elsewhere(data, name, options.classes or ())
    split = task.fitted(config, task.load(data, info, config.training), name)
    loader = task.test_loader(split, config, device, options.batch_size)
    result = task.objective(config.training).evaluate(model, loader)
    require_numbers(np.float64(result.loss), str(run))
    say(f"{config.model} from {run}, {which}, on {name}, {device}")
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
            say(f"wrote {' and '.join(str(done.run.folder / name) for name in written)}")
    except TrainingError as error:
        say(f"no pictures: {error}")
    say(task.summary(done.result))


def by_class(result: Evaluation, classes: tuple[str, ...], unit: str) -> str:
    """A table of the correct predictions by class, with the most common mistake."""
    rows = []
    for number, name in enumerate(classes):
        row = result.confusion[number].copy()
        correct, count = int(row[number]), int(row.sum())
        row[number] = 0
        mistake = f"{classes[row.argmax()]} ({row.max()})" if row.any() else ""
        share = f"{correct / count:.4f}" if count else ""
        rows.append((name, str(count), str(correct), share, mistake))
    head = ("class", unit, "correct", "accuracy", "most common mistake")
    return table(head, rows, right=(1, 2, 3))
