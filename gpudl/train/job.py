"""A training from its settings to its pictures: what `gpudl train` does, for Python too."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpudl import data as data_sets
from gpudl import models, nn, random
from gpudl.data import Dataset, Split
from gpudl.train import blas, config, recipe
from gpudl.train.callbacks import Callback, Checkpoint, EarlyStopping, History, StopRequest
from gpudl.train.checkpoint import load_state, load_weights, save_weights
from gpudl.train.config import AUGMENTATIONS, OPTIMIZERS, SCHEDULES, Config
from gpudl.train.errors import DivergedError, TrainingError
from gpudl.train.metrics import Evaluation, evaluate
from gpudl.train.picture import SAMPLE, usual_extent
from gpudl.train.progress import Progress
from gpudl.train.run import Run, slug
from gpudl.train.trainer import Trainer

Folder = str | os.PathLike[str]


@dataclass(frozen=True)
class Prepared:
    """A complete configuration with the data it speaks of."""

    config: Config
    split: Split


def configure(
    model: str,
    *,
    data: str | None = None,
    data_dir: str | None = None,
    limit: int | None = None,
    device: str = "cpu",
    options: dict[str, Any] | None = None,
    **training: Any,
) -> Prepared:
    """The configuration of a training, with defaults where `training` has None, and its data.

    options: arguments of the model's function. training: fields of `gpudl.train.Training`. Raises TrainingError or DataError where something is
    unknown, out of range or missing.
    """
    info = _model(model)
    name = _absolute(data) if data else info.dataset
    data_dir = str(Path(data_dir).expanduser().resolve()) if data_dir else None
    for option, choices in (
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("augment", AUGMENTATIONS),
    ):
        _check_choice(option, training.get(option), choices)
    settings = config.default_training(name, **training)
    split, shape = recipe.load_data(name, data_dir, limit, info)
    mean, std = recipe.statistics(split.train)
    classes = split.train.classes or tuple(map(str, range(int(split.train.labels.max()) + 1)))
    sizes = (len(split.train), len(split.test))
    extent = usual_extent(split.train.batch(np.arange(min(len(split.train), SAMPLE)))[0])
    told = config.Data(name, data_dir, limit, sizes, classes, mean, std, extent)
    made, all_options = recipe.build_model(info, len(classes), shape[0], options or {})
    settled = Config(
        model=info.name,
        data=told,
        training=settings,
        device=device,
        options=all_options,
        input_shape=shape,
        parameters=sum(p.numel() for p in made.parameters()),
        versions=_versions(),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    return Prepared(settled, split)


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
        test = recipe.test_loader(split.test, settings.data, settings.device)
        schedule = recipe.make_schedule(optimizer, training, training.epochs * len(loader))
        self.progress = Progress()
        self.checkpoint = Checkpoint(run.checkpoint, save_every)
        self.stop_request = StopRequest(self.checkpoint)
        # Those with a state before the checkpoint that saves it.
        callbacks: list[Callback] = [schedule] if schedule else []
        if training.patience:
            callbacks.append(EarlyStopping(training.patience))
        callbacks += [self.progress, self.checkpoint, History(run.history), self.stop_request]
        self.loss = nn.CrossEntropyLoss()
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
        """The training of a run, where its last checkpoint is. device, data_dir: where they have changed."""
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
            f"{c.model} ({c.parameters:,} parameters) on {c.data.name} ({c.data.sizes[0]:,} images), "
            f"{c.device}, {t.optimizer}, batches of {t.batch_size}, seed {t.seed}{more}; "
            f"run {self.run}"
        )

    def train(self) -> None:
        """Train to the last epoch. Raises DivergedError, and StoppedError after a request to stop."""
        try:
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
            result = self.trainer.evaluation = evaluate(
                self.model, self.loss, self.trainer.test
            )
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
    draw_confusion(run.folder / f"confusion{more}.png", result.confusion, classes, f"{title}: {counts}")
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


def reload_data(settings: Config) -> Split:
    """The data of a run. Raises TrainingError where they are no longer what they were."""
    told = settings.data
    split, shape = recipe.load_data(told.name, told.folder, told.limit, _model(settings.model))
    now = (len(split.train), len(split.test)), shape
    if now != (told.sizes, settings.input_shape):
        raise TrainingError(
            f"{told.name}: has {now[0]} images of {now[1]}, the run was trained with {told.sizes} of "
            f"{settings.input_shape}; bring the data back or train anew"
        )
    return split


def trained_model(run: Run, settings: Config, device: str) -> tuple[Any, str]:
    """The model of a run with its final weights, or those of the last checkpoint; and which they are."""
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
            f"{run}: its weights do not fit {settings.model} ({error.args[0]}); train the model again"
        ) from None
    return model.to(device).eval(), which


def _absolute(data: str) -> str:
    """The name of a data set as it is, a path so that it holds in every working directory."""
    path = Path(data).expanduser()
    is_path = os.sep in data or path.suffix == ".npz" or (path.is_dir() and not _is_known(data))
    return str(path.resolve()) if is_path else data


def _is_known(data: str) -> bool:
    try:
        return bool(data_sets.info(data))
    except data_sets.DataError:
        return False


def _model(name: str) -> models.Info:
    try:
        return models.info(name)
    except KeyError as error:
        raise TrainingError(f"{error.args[0]}; gpudl models lists them") from None


def _check_choice(option: str, value: str | None, choices: Sequence[str] | dict[str, float]) -> None:
    if value is not None and value not in choices:
        import difflib

        near = difflib.get_close_matches(value, choices, 1)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(choices)}"
        raise TrainingError(f"--{option}: {value!r} is unknown; {hint}")


def _versions() -> dict[str, str]:
    import gpudl

    return {
        "gpudl": gpudl.__version__,
        "numpy": np.__version__,
        "blas": blas.describe(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
