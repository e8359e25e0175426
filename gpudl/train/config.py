"""The complete, repeatable configuration of a training run: model, data and hyper-parameters."""

from __future__ import annotations

import difflib
import math
import re
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, get_args, get_origin, get_type_hints

from gpudl.train.errors import TrainingError

OPTIMIZERS = {"adam": 2e-3, "adamw": 2e-3, "sgd": 0.05, "rmsprop": 1e-3, "adagrad": 1e-2}
MOMENTUM = {"sgd": 0.9, "rmsprop": 0.0}  # defaults of the optimizers that have momentum
SCHEDULES = ("cosine", "constant", "step", "sqrt", "plateau")
AUGMENTATIONS = ("shift", "flip", "shift+flip", "none")
EPOCHS = {"digits": 30}  # the small set needs more passes
DEFAULT_EPOCHS = 10
CHOICES: dict[str, Collection[str]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augment": AUGMENTATIONS,
}
MOST_VALUES = 1 << 28  # of one sample
OPTIMIZER_FIELDS = ("optimizer", "lr", "momentum", "weight_decay")


@dataclass(frozen=True)
class Training:
    """Hyper-parameters, all of which affect the resulting bits.

    schedule: of the learning rate. cosine: a linear warm-up over a tenth of the steps, then down to
    0; step: divided by 10 after each epoch in `milestones`, by default after each third of the
    epochs, and also in the first `warm_up` epochs (He et al. 2016, section 4.2, for 110 layers);
    sqrt: proportional to 1/√epoch; plateau: halved after 3 epochs without a lower test loss.
    augment: random changes to training images. shift: by up to `shift` pixels; flip: left to right.
    clip: the maximum norm of all gradients together. window: characters per sequence of a language
    model. patience: end training after this many epochs without a lower test loss. blas_threads:
    threads for NumPy's matrix products, whose rounding depends on their number. tune: measure
    kernels and use the fastest; the choices are saved in the checkpoint.
    """

    epochs: int = DEFAULT_EPOCHS
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float = OPTIMIZERS["adam"]
    momentum: float | None = None
    weight_decay: float = 0.0
    schedule: str = "cosine"
    milestones: tuple[int, ...] = ()
    warm_up: int = 0
    augment: str = "shift"
    shift: int = 2
    clip: float | None = None
    window: int | None = None
    patience: int | None = None
    seed: int = 0
    blas_threads: int = 1
    tune: bool = False


@dataclass(frozen=True)
class Data:
    """The data set: its name or path, the folder of its files, and what the model needs to know.

    limit: the most samples in each of the training and test parts. only: the classes to use, by
    label or name; () for all. sizes: samples (training, test). classes: the names of the model's
    labels; for a language model, its characters. characters: those of labelled texts. extent: the
    share of the frame filled by light ink on dark paper; None for other images.
    stretched: images with other aspect ratios were stretched to the model's input size.
    """

    name: str
    folder: str | None = None
    limit: int | None = None
    only: tuple[int | str, ...] = ()
    sizes: tuple[int, int] = (0, 0)
    classes: tuple[str, ...] = ()
    characters: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    extent: float | None = None
    stretched: bool = False


@dataclass(frozen=True)
class Config:
    """One run. options: the arguments of the model's function. input_shape: (C, H, W) of an
    image, (window,) of a text."""

    model: str
    data: Data
    training: Training
    device: str = "cpu"
    options: dict[str, Any] = field(default_factory=dict)
    input_shape: tuple[int, ...] = ()
    parameters: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def from_dict(values: dict[str, Any], origin: str) -> Config:
    """The inverse of `Config.as_dict`. Raises a TrainingError that names `origin` for other
    values."""
    try:
        data = from_table(Data, values["data"])
        training = from_table(Training, values["training"])
        for option, choices in CHOICES.items():
            check_choice(option, getattr(training, option), choices)
        _check(training)
        config: Config = from_table(Config, {**values, "data": data, "training": training})
        _check_shapes(config)
        return config
    except TrainingError as error:
        raise TrainingError(f"{origin}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(
            f"{origin}: is not a configuration of this version of gpudl ({error}); "
            "train the model again"
        ) from None


def default_training(
    data: str, defaults: Mapping[str, Any] | None = None, **given: Any
) -> Training:
    """The hyper-parameters for a data set, with defaults where `given` has None.

    defaults: for example the model's. Those of its optimizer are ignored if `given` has another.
    Raises TrainingError for invalid values.
    """
    given = {name: value for name, value in given.items() if value is not None}
    defaults = dict(defaults or {})
    default_optimizer = defaults.get("optimizer", "adam")
    if given.get("optimizer", default_optimizer) != default_optimizer:
        defaults = {name: value for name, value in defaults.items() if name not in OPTIMIZER_FIELDS}
    given = defaults | given
    optimizer = given.setdefault("optimizer", "adam")
    given.setdefault("lr", OPTIMIZERS.get(optimizer))
    given.setdefault("epochs", EPOCHS.get(data, DEFAULT_EPOCHS))
    given.setdefault("augment", "shift+flip" if data.startswith("cifar") else "shift")
    given.setdefault("momentum", MOMENTUM.get(optimizer))
    training: Training = from_table(Training, given)
    _check(training)
    return training


def _check(training: Training) -> None:
    least = {"epochs": 1, "batch_size": 1, "patience": 1, "seed": 0, "blas_threads": 1, "window": 1}
    least["shift"] = least["warm_up"] = 0
    for name, minimum in least.items():
        value = getattr(training, name)
        if value is not None and value < minimum:
            raise TrainingError(f"--{_flag(name)}: {value}; give {minimum} or more")
    if not 0 < training.lr < float("inf"):
        raise TrainingError(f"--lr: {training.lr}; give a number above 0, 0.001 for example")
    if training.momentum is not None and training.optimizer not in MOMENTUM:
        raise TrainingError(
            f"--momentum: {training.optimizer} has none; leave it out or use --optimizer sgd"
        )
    if training.momentum is not None and not 0 <= training.momentum < 1:
        raise TrainingError(f"--momentum: {training.momentum}; give a number from 0 to below 1")
    if not 0 <= training.weight_decay < float("inf"):
        raise TrainingError(f"--weight-decay: {training.weight_decay}; give 0 or more")
    if training.clip is not None and not training.clip > 0:
        raise TrainingError(f"--clip: {training.clip}; give a number above 0")
    if training.seed >= 1 << 63:
        raise TrainingError(f"--seed: {training.seed}; give a number below 2^63")


def check_choice(option: str, value: Any, choices: Collection[str]) -> None:
    """Raises TrainingError for a value other than None that is not one of the choices."""
    if value is not None and value not in choices:
        near = difflib.get_close_matches(str(value).lower(), choices, 1)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(choices)}"
        raise TrainingError(f"--{option}: {reprlib.repr(value)} is unknown; {hint}")


def _check_shapes(config: Config) -> None:
    """Raises ValueError for an unknown device, a shape that no sample has, and statistics that do
    not fit it."""
    shape, data = config.input_shape, config.data
    if not re.fullmatch(r"cpu|emulator|cuda(:\d{1,3})?", config.device):
        raise ValueError(f"device: {reprlib.repr(config.device)}")
    if len(shape) not in (1, 3) or min(shape) < 1 or math.prod(shape) > MOST_VALUES:
        raise ValueError(f"input_shape: {reprlib.repr(shape)}")
    if len(shape) == 3:
        counts = len(data.mean), len(data.std)
        finite = all(map(math.isfinite, data.mean)) and all(0 < x < math.inf for x in data.std)
        if counts != (shape[0], shape[0]) or not finite:
            raise ValueError(f"mean and std: expected {shape[0]} finite numbers each, std above 0")
    if data.limit is not None and data.limit < 1:
        raise ValueError(f"limit: {reprlib.repr(data.limit)}, expected 1 or more")
    if data.extent is not None and not 0 < data.extent <= 1:
        raise ValueError(f"extent: {data.extent}, expected a number from 0 to 1")


def _flag(name: str) -> str:
    return name.replace("_", "-")


def from_table(kind: Any, values: Any) -> Any:
    """An instance of a dataclass from values of JSON, in which tuples are lists. Raises ValueError
    for wrong names and types."""
    hints = get_type_hints(kind)
    if not isinstance(values, dict):
        raise ValueError(f"{kind.__name__.lower()} is not a table of names and values")
    if unknown := sorted(map(str, set(values) - set(hints))):
        raise ValueError(f"unknown entry {unknown[0][:40]!r}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    for name, value in values.items():
        if not _fits(value, hints[name]):
            expected = str(hints[name]).replace("typing.", "").replace("<class '", "").rstrip("'>")
            raise ValueError(f"{name}: {reprlib.repr(value)}, expected {expected}")
    return kind(**values)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is of the type that a field declares."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        of = parts[:1] * len(value) if parts[1:] == (...,) else parts
        return len(value) == len(of) and all(map(_fits, value, of))
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if parts:  # a union
        return any(_fits(value, part) for part in parts)
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 53)
    return isinstance(value, hint)
