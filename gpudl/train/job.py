"""A training run from its settings to its pictures: `gpudl train` as a Python class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from gpudl.core import random
from gpudl.core.choice import tune
from gpudl.core.files import is_there
from gpudl.data import Split
from gpudl.devices.find import meta
from gpudl.train import blas, build
from gpudl.train.callback import Callback
from gpudl.train.callbacks import Checkpoint, CSVLogger, EarlyStopping, StopRequest
from gpudl.train.checkpoint import load_state, load_weights, save_weights
from gpudl.train.config import Config
from gpudl.train.errors import DivergedError, TrainingError
from gpudl.train.metrics import Evaluation
from gpudl.train.objective import Scores
from gpudl.train.prepare import Prepared, find_model, reload_data
from gpudl.train.progress import Progress
from gpudl.train.run import Run
from gpudl.train.tasks import task_of
from gpudl.train.tasks.base import Finished
from gpudl.train.trainer import Trainer, not_finite

# Exceptions of a model and of a state that do not fit the settings.
UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
LONGEST = 500  # characters of a message, which may repeat an entry of the file
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
        self.task = task = task_of(find_model(settings.model))
        self.model = build.rebuild_model(settings).to(settings.device)
        optimizer = task.optimizer(self.model, training)
        loader = task.train_loader(split, settings)
        has_metric = task.judges(self.model)
        test = task.test_loader(split, settings, settings.device) if has_metric else None
        steps = training.epochs * len(loader)
        self.progress = Progress()
        self.checkpoint = Checkpoint(run.checkpoint, save_every)
        self.stop_request = StopRequest(self.checkpoint)
        # Callbacks with a state come before the checkpoint that saves it.
        callbacks: list[Callback] = [*build.make_schedules(optimizer, training, steps)]
        if training.patience:
            callbacks.append(EarlyStopping(training.patience))
        callbacks += [self.progress, self.checkpoint, CSVLogger(run.history), self.stop_request]
        objective = task.objective(training)
        self.trainer = Trainer(self.model, optimizer, objective, loader, test, callbacks)

    @classmethod
    def start(cls, prepared: Prepared, out: Folder | None = None, save_every: float = 20.0) -> Job:
        """A new training run in the folder `out`, or in the next free one under runs/."""
        run = Run.create(out, prepared.config)
        try:
            job = cls(run, prepared.config, prepared.split, save_every)
            job.checkpoint.save(job.trainer)
        except BaseException:
            run.unlock()
            raise
        return job

    @classmethod
    def resume(
        cls,
        folder: Folder,
        device: str | None = None,
        data_dir: str | None = None,
        save_every: float = 20.0,
    ) -> Job:
        """A run, continued from its last checkpoint. device, data_dir: replace those of the
        run."""
        run, settings = open_run(folder)
        settings = replace(
            settings,
            device=settings.device if device is None else device,
            data=settings.data if data_dir is None else replace(settings.data, folder=data_dir),
        )
        split = reload_data(settings)
        run.lock()
        try:
            job = cls(run, settings, split, save_every)
            if is_there(run.checkpoint):  # otherwise it stopped before the first save: start over
                job._load(load_state(run.checkpoint))
        except BaseException:
            run.unlock()
            raise
        return job

    def _load(self, state: dict[str, Any]) -> None:
        try:
            self.trainer.load_state_dict(state)
        except UNFIT as error:
            raise TrainingError(
                f"{self.run.checkpoint}: does not fit {self.run.config_path} "
                f"({str(error)[:LONGEST]}); train again in another folder"
            ) from None

    @property
    def title(self) -> str:
        c, t = self.config, self.config.training
        classes = f" of {', '.join(c.data.classes)}" if c.data.only else ""
        progress = f", from epoch {self.trainer.epoch + 1}" if self.trainer.step else ""
        if self.trainer.epoch >= t.epochs or self.trainer.stop_reason:
            progress = ", already complete"
        return (
            f"{c.model} ({c.parameters:,} parameters) on {c.data.name} "
            f"({self.task.amount(self.split)}{classes}), "
            f"{c.device}, {t.optimizer}, batches of {t.batch_size}, seed {t.seed}{progress}; "
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
                f"{error}; the last good state is in {self.run.checkpoint}"
            ) from None

    def finish(self) -> Evaluation | Scores | None:
        """Write the weights. Returns the evaluation of the final weights; None if the model has no
        test metric."""
        save_weights(self.run.weights, self.model.state_dict())
        trainer = self.trainer
        if trainer.evaluation is None and trainer.test is not None:  # resumed when already complete
            trainer.evaluation = trainer.objective.evaluate(self.model, trainer.test)
        return trainer.evaluation

    def draw(self) -> Iterator[str]:
        """Draw curves.png, filters.png and the task's own pictures in the run's folder, after
        `finish`. Yields their names. Raises TrainingError without Matplotlib."""
        from gpudl.train.report import draw_curves, draw_filters
        from gpudl.train.report.filters import first_filters

        folder, config, trainer = self.run.folder, self.config, self.trainer
        data, result, history = config.data.name, trainer.evaluation, trainer.history
        done = Finished(self.run, config, self.model, self.split, data, result, history)
        yield from self.task.draw(done)  # first: a text can be written without Matplotlib
        draw_curves(folder / "curves.png", history, done.title)
        yield "curves.png"
        filters = first_filters(self.model, config.input_shape)
        if filters is not None:
            title = f"{done.title}: filters of the first layer"
            draw_filters(folder / "filters.png", filters, title)
            yield "filters.png"

    def close(self) -> None:
        """Release the run for other processes; the end of a `with` block does this too."""
        self.progress.close()
        self.run.unlock()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_run(folder: Folder) -> tuple[Run, Config]:
    """An existing run and its settings. Raises TrainingError if the folder is not a run, or if its
    settings are damaged or contradict each other; nothing large is allocated before."""
    run = Run.open(folder)
    settings = run.config()
    try:
        info = find_model(settings.model)
        with random.rng_state(random.get_rng_state()), meta:
            model = build.rebuild_model(settings)
            count = sum(parameter.numel() for parameter in model.parameters())
            if count != settings.parameters:
                raise TrainingError(
                    f"{settings.model} with {settings.options} has {count} parameters, not "
                    f"{settings.parameters}; train the model again"
                )
        task_of(info).check(info, model, settings)
    except TrainingError as error:
        raise TrainingError(f"{run.config_path}: {str(error)[:LONGEST]}") from None
    except UNFIT as error:
        raise TrainingError(
            f"{run.config_path}: does not describe a model ({str(error)[:LONGEST]}); "
            "train the model again"
        ) from None
    return run, settings


def _check_same_training(run: Run, settings: Config, weights: Mapping[str, Any]) -> None:
    """Raises TrainingError if the weights differ from those of the run's last checkpoint."""
    if not is_there(run.checkpoint):
        return
    state = load_state(run.checkpoint)
    saved = state.get("model", {})
    same = weights.keys() == saved.keys() and all(
        np.array_equal(weights[name], saved[name], equal_nan=True) for name in weights
    )
    if not same:
        raise TrainingError(
            f"{run.weights}: differs from the weights at the end of this training; restore the "
            f"file, or remove {run.checkpoint} to use it"
        )


def trained_model(run: Run, settings: Config, device: str) -> tuple[Any, str]:
    """The model of a run with its final weights, or else those of the last checkpoint, and a
    description of those weights."""
    model = build.rebuild_model(settings)
    if is_there(run.weights):
        weights, which = load_weights(run.weights), "final weights"
        _check_same_training(run, settings, weights)
    elif is_there(run.checkpoint):
        state = load_state(run.checkpoint)
        weights = state["model"]
        which = f"weights after {state['epoch']} of {settings.training.epochs} epochs"
    else:
        raise TrainingError(f"{run}: has no weights yet; run gpudl train --resume {run}")
    if name := not_finite(weights):
        raise TrainingError(
            f"{run}: its weights are no numbers ({name} holds NaN or infinity); train again"
        )
    try:
        model.load_state_dict(weights)
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"{run}: its weights do not fit {settings.model} ({error.args[0]}); "
            "train the model again"
        ) from None
    return model.to(device).eval(), which
