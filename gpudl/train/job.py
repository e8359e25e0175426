"""A training from its settings to its pictures: what `gpudl train` does, for Python too."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpudl import models, random
from gpudl.choice import tune
from gpudl.data import Dataset, Split
from gpudl.ops.cross_entropy import cross_entropy
from gpudl.train import blas, recipe
from gpudl.train.callbacks import Callback, Checkpoint, EarlyStopping, History, StopRequest
from gpudl.train.checkpoint import load_state, load_weights, save_weights
from gpudl.train.config import Config
from gpudl.train.errors import DivergedError, TrainingError
from gpudl.train.metrics import Evaluation, evaluate
from gpudl.train.prepare import Prepared, reload_data
from gpudl.train.progress import Progress
from gpudl.train.run import Run, slug
from gpudl.train.trainer import Trainer

Folder = str | os.PathLike[str]


class Job:
    """One training in its run folder: `start` or `resume`, then `train`, then `finish`.

    >>> with Job.start(configure("lenet5", data="mnist", epochs=5)) as job:
    ...     job.train()
    ...     print(job.finish().accuracy)
    """

    def __init__(self, run: Run, settings: Config, split: Split, save_every: float) -> None:
        self.run, self.config, self.split = run, settings, split
        training = settings.training
        blas.set_threads(training.blas_threads)
        random.manual_seed(training.seed)
        self.model = models.create(settings.model, **settings.options).to(settings.device)
        optimizer = recipe.make_optimizer(self.model, training)
        loader = recipe.train_loader(split.train, settings.data, training, settings.device)
        test = recipe.plain_loader(split.test, settings.data, settings.device)
        schedule = recipe.make_schedule(optimizer, training, training.epochs * len(loader))
        self.progress = Progress()
        self.checkpoint = Checkpoint(run.checkpoint, save_every)
        self.stop_request = StopRequest(self.checkpoint)
        # Those with a state before the checkpoint that saves it.
        callbacks: list[Callback] = [schedule] if schedule else []
        if training.patience:
            callbacks.append(EarlyStopping(training.patience))
        callbacks += [self.progress, self.checkpoint, History(run.history), self.stop_request]
        self.loss = cross_entropy
        self.trainer = Trainer(self.model, optimizer, self.loss, loader, test, callbacks)

    @classmethod
    def start(cls, prepared: Prepared, out: Folder | None = None, save_every: float = 20.0) -> Job:
        """A new training in the folder `out`, or in the next free one in runs/."""
        run = Run.create(out, prepared.config)
        job = cls(run, prepared.config, prepared.split, save_every)
        job.checkpoint.save(job.trainer)
        return job

    @classmethod
    def resume(
        cls,
        folder: Folder,
        device: str | None = None,
        data_dir: str | None = None,
        save_every: float = 20.0,
    ) -> Job:
        """The training of a run, where its last checkpoint is. device, data_dir: where they have
        changed."""
        run = Run.open(folder)
        settings = run.config()
        settings = replace(
            settings,
            device=device or settings.device,
            data=replace(settings.data, folder=data_dir or settings.data.folder),
        )
        split = reload_data(settings)
        run.lock()
        try:
            job = cls(run, settings, split, save_every)
            if run.checkpoint.exists():  # else it was ended before the first one: begin
                job._load(load_state(run.checkpoint))
        except BaseException:
            run.unlock()
            raise
        return job

    def _load(self, state: dict[str, Any]) -> None:
        try:
            self.trainer.load_state_dict(state)
        except (KeyError, ValueError, TypeError) as error:
            raise TrainingError(
                f"{self.run.checkpoint}: does not fit {self.run.config_path} ({error}); "
                "train again into another folder"
            ) from None

    @property
    def title(self) -> str:
        c, t = self.config, self.config.training
        more = f", from epoch {self.trainer.epoch + 1}" if self.trainer.step else ""
        if self.trainer.epoch >= t.epochs or self.trainer.stop_reason:
            more = ", complete already"
        return (
            f"{c.model} ({c.parameters:,} parameters) on {c.data.name} "
            f"({c.data.sizes[0]:,} images), "
            f"{c.device}, {t.optimizer}, batches of {t.batch_size}, seed {t.seed}{more}; "
            f"run {self.run}"
        )

    def train(self) -> None:
        """Train to the last epoch. Raises DivergedError, and StoppedError after a request to
        stop."""
        tuning = tune() if self.config.training.tune else nullcontext()
        try:
            with tuning:
                self.trainer.fit(self.config.training.epochs)
        except DivergedError as error:
            raise DivergedError(
                f"{error}; the last good state is kept in {self.run.checkpoint}"
            ) from None

    def finish(
        self, pictures: bool = True, say: Callable[[str], None] = lambda text: None
    ) -> Evaluation:
        """Write the weights and the pictures; the evaluation of the final weights.

        say: is told where pictures cannot be drawn.
        """
        save_weights(self.run.weights, self.model.state_dict())
        result = self.trainer.evaluation
        if result is None:  # the run was complete already
            result = self.trainer.evaluation = evaluate(self.model, self.loss, self.trainer.test)
        try:
            if pictures:
                self._draw(result)
        except TrainingError as error:  # no Matplotlib: the training is good all the same
            say(f"no pictures: {error}")
        return result

    def _draw(self, result: Evaluation) -> None:
        """curves.png, filters.png, confusion.png and mistakes.png in the run's folder."""
        from gpudl.train.report import draw_curves, draw_filters
        from gpudl.train.report.filters import first_filters

        folder, name = self.run.folder, self.config.data.name
        title = f"{self.config.model} on {Path(name).name}"
        draw_curves(folder / "curves.png", self.trainer.history, title)
        filters = first_filters(self.model, self.config.input_shape)
        if filters is not None:
            draw_filters(folder / "filters.png", filters, f"{title}: filters of the first layer")
        draw_answers(self.run, self.config, name, self.split.test, result)

    def close(self) -> None:
        """Let another process have the run; `with` does it too."""
        self.progress.close()
        self.run.unlock()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def draw_answers(
    run: Run, settings: Config, data: str, part: Dataset, result: Evaluation
) -> list[str]:
    """confusion.png and mistakes.png for the answers on a data set; their names.

    Another data set than that of the run has its name in theirs.
    """
    from gpudl.train.report import draw_confusion, draw_mistakes
    from gpudl.train.report.images import MOST

    classes, title = settings.data.classes, f"{settings.model} on {Path(data).name}"
    more = "" if data == settings.data.name else f"-{slug(data)}"
    counts = f"{result.correct:,} of {len(result.labels):,} right ({result.accuracy:.2%})"
    draw_confusion(
        run.folder / f"confusion{more}.png", result.confusion, classes, f"{title}: {counts}"
    )
    wrong = result.mistakes
    images = part.batch(wrong[: MOST + 1])[0] if len(wrong) else np.empty((0, *part.shape))
    draw_mistakes(
        run.folder / f"mistakes{more}.png",
        images,
        result.labels[wrong],
        result.probabilities[wrong],
        classes,
        f"{title}: {len(wrong)} of {len(result.labels):,} test images misread",
    )
    return [f"confusion{more}.png", f"mistakes{more}.png"]


def trained_model(run: Run, settings: Config, device: str) -> tuple[Any, str]:
    """The model of a run with its final weights, or those of the last checkpoint; and which they
    are."""
    model = models.create(settings.model, **settings.options)
    if run.weights.exists():
        weights, which = load_weights(run.weights), "final weights"
    elif run.checkpoint.exists():
        state = load_state(run.checkpoint)
        weights = state["model"]
        which = f"weights after {state['epoch']} of {settings.training.epochs} epochs"
    else:
        raise TrainingError(f"{run}: has no weights yet; gpudl train --resume {run} makes them")
    try:
        model.load_state_dict(weights)
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"{run}: its weights do not fit {settings.model} ({error.args[0]}); "
            "train the model again"
        ) from None
    return model.to(device).eval(), which
