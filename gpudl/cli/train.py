"""Train a model.

examples:
  gpudl train lenet5
  gpudl train lenet5 --data mnist --epochs 5 --seed 0
  gpudl train mlp --data photos/ --optimizer sgd --lr 0.05 --out runs/mine
  gpudl train lenet5 --data mnist --classes 4,9
  gpudl train mlp --option hidden=[512,256] --option dropout=0.2
  gpudl train --recipe char-lstm-shakespeare
  gpudl train --resume runs/lenet5-digits-1

A text classifier (text_conv, text_rnn) takes a folder of .txt files, one file per class, one text
per line. Given a single text such as tiny-shakespeare, it learns to detect forged pieces of it.

Ctrl-C saves a checkpoint. --resume continues from the last one as if training had never stopped,
with the settings in RUN/config.json. gpudl models --recipes lists the recipes; options given with
--recipe override its own.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gpudl.cli.arguments import (
    add_classes,
    add_data,
    add_device,
    choose_device,
    filled,
    positive,
    seconds,
)
from gpudl.cli.errors import INTERRUPTED, TERMINATED, CommandError
from gpudl.core.terminal import say

if TYPE_CHECKING:
    from gpudl.train import Job
    from gpudl.train.recipe import Recipe

# Name, type, placeholder and help of the options that are fields of gpudl.train.Training.
HYPER_PARAMETERS: tuple[tuple[str, Callable[[str], Any], str, str], ...] = (
    (
        "epochs",
        int,
        "N",
        "passes over the data (default: the model's, else 30 for digits and 10 for others)",
    ),
    ("batch-size", int, "N", "samples per step (default: 64)"),
    ("optimizer", str, "NAME", "adam, adamw, sgd, rmsprop, adagrad (default: adam)"),
    (
        "lr",
        float,
        "X",
        "learning rate (default: 0.002 for adam, 0.05 for sgd; for others see config.json)",
    ),
    ("momentum", float, "X", "momentum of sgd (default: 0.9) or rmsprop (default: 0)"),
    ("weight-decay", float, "X", "weight decay (default: 0)"),
    ("schedule", str, "NAME", "cosine (after a warm-up; default), constant, step, sqrt, plateau"),
    ("augment", str, "NAME", "shift, flip, shift+flip, none (default: shift; cifar-10 shift+flip)"),
    ("shift", int, "N", "maximum shift of --augment shift in pixels (default: 2)"),
    ("clip", float, "X", "maximum norm of all gradients (default: 1 for text, else no limit)"),
    (
        "window",
        int,
        "N",
        "characters per sequence of a language model (default: 64), or at most per text (default: "
        "80)",
    ),
    ("patience", int, "N", "stop after N epochs without a lower test loss"),
    ("seed", int, "N", "random seed (default: 0)"),
    ("blas-threads", int, "N", "threads for NumPy's matrix products (default: 1)"),
)
RESUMABLE = {"resume", "data_dir", "device", "save_every", "debug", "run"}


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="see gpudl models")
    parser.add_argument(
        "--recipe", metavar="NAME|FILE", help="train a recipe; see gpudl models --recipes"
    )
    parser.add_argument("--resume", metavar="RUN", help="continue a run that was stopped")
    parser.add_argument(
        "--out", type=filled, metavar="RUN", help="folder of the run (default: a new one in runs/)"
    )
    add_data(parser, "the model's own")
    add_device(parser)
    for name, kind, value, text in HYPER_PARAMETERS:
        parser.add_argument(f"--{name}", type=kind, metavar=value, help=text)
    parser.add_argument(
        "--tune",
        action="store_true",
        default=None,
        help="on a GPU, time the applicable kernels and use the fastest",
    )
    parser.add_argument(
        "--option",
        action="append",
        metavar="NAME=VALUE",
        help="option of the model, for example dropout=0.2; may be repeated",
    )
    add_classes(parser, "use only these classes, by name or label (default: the model's, else all)")
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="use at most N samples of each part, for trials"
    )
    parser.add_argument(
        "--save-every",
        type=seconds,
        default=20.0,
        metavar="SECONDS",
        help="time between checkpoints within an epoch (default: 20)",
    )


def run(options: argparse.Namespace) -> int:
    with _resumed(options) if options.resume else _started(options) as job:
        return _train(job)


def _train(job: Job) -> int:
    from gpudl.train import StoppedError, TrainingError

    with _stops_on_signals(job.stop_request.request) as signals:
        try:
            say(f"training {job.title}")
            if job.config.data.stretched:
                size = "x".join(map(str, job.config.input_shape[1:]))
                say(f"the images have several sizes; each is stretched to {size} pixels")
            job.train()
        except BrokenPipeError:  # `gpudl train … | head -1`
            job.close()
            print(
                "gpudl: stopped, because the output is no longer read; continue with: "
                f"gpudl train --resume {job.run}",
                file=sys.stderr,
            )
            raise
        except StoppedError:
            job.close()
            print(
                f"\nstopped after step {job.trainer.step} and saved; continue with: "
                f"gpudl train --resume {job.run}"
            )
            return TERMINATED if signal.SIGTERM in signals else INTERRUPTED
    result = job.finish()
    say(job.task.summary(result) if result else "trained")
    say(f"wrote {job.run}/model.safetensors, history.csv; drawing pictures")
    try:
        for name in job.draw():
            say(f"wrote {job.run}/{name}")
    except TrainingError as error:  # training is complete even without Matplotlib
        say(f"no pictures: {error}")
    print(f"next: gpudl evaluate {shlex.quote(str(job.run))}")
    return 0


def _started(options: argparse.Namespace) -> Job:
    from gpudl.train import Job, configure

    recipe = _recipe(options)
    names = [name.replace("-", "_") for name, *_ in HYPER_PARAMETERS]
    given = {name: getattr(options, name) for name in (*names, "tune")}
    given = {name: value for name, value in given.items() if value is not None}
    device = choose_device(options.device)
    prepared = configure(
        recipe.model,
        data=recipe.data or None if options.data is None else options.data,
        data_dir=options.data_dir,
        limit=options.limit,
        classes=options.classes or (),
        device=device,
        options=recipe.options | _options(options.option or []),
        **{**recipe.training, **given},
    )
    return Job.start(prepared, options.out, options.save_every)


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe to train; for a model name, a recipe with only defaults."""
    from gpudl.train.recipe import Recipe, read_recipe

    if options.recipe is not None:
        if options.model is not None:
            raise CommandError(
                f"train: --recipe names its own model; leave out {options.model} or --recipe"
            )
        return read_recipe(options.recipe)
    if options.model is None:
        raise CommandError(
            "train: no model is given; name one of `gpudl models`, or --recipe NAME, "
            "or --resume RUN"
        )
    return Recipe("", options.model, "")


def _options(texts: list[str]) -> dict[str, Any]:
    """NAME=VALUE texts as a dictionary; values are JSON, or else plain text."""
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise CommandError(f"--option {text}: give NAME=VALUE, dropout=0.2 for example")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def _resumed(options: argparse.Namespace) -> Job:
    from gpudl.train import Job

    for name, value in vars(options).items():
        if value is not None and name not in RESUMABLE:
            shown = "the model" if name == "model" else f"--{name.replace('_', '-')}"
            raise CommandError(
                f"train --resume uses the settings in {options.resume}/config.json; "
                f"leave out {shown}, or start a new run without --resume"
            )
    device = options.device and choose_device(options.device)
    return Job.resume(options.resume, device, options.data_dir, options.save_every)


@contextmanager
def _stops_on_signals(request: Callable[[str], Any]) -> Iterator[set[int]]:
    """Ctrl-C and SIGTERM request a stop between two steps; a second one stops at once.

    Yields the set of signals received.
    """
    received: set[int] = set()

    def handle(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.add(number)
        print("\nstopping after this step …", file=sys.stderr, flush=True)
        request(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():  # others cannot set handlers
        yield received
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
