"""Apply a trained model to images or texts.

A classifier prints the class probabilities and, for images, writes pictures with the original, the
model's input and the prediction. An autoencoder writes reconstructions. A language model prints a
continuation of the text.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpudl.cli.arguments import add_device, choose_device, filled, natural, positive
from gpudl.cli.errors import CommandError
from gpudl.cli.table import table
from gpudl.core.terminal import say

if TYPE_CHECKING:
    from gpudl.train import Config, Run
    from gpudl.train.tasks import Task

SHOWN = 40  # characters of a text in the table


class Request(NamedTuple):
    """A trained model, a description of its weights, and the options of the command."""

    run: Run
    config: Config
    task: Task
    model: Any
    which: str
    options: argparse.Namespace


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="RUN", help="folder of a run, for example runs/lenet5-digits-1"
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IMAGE|FOLDER|TEXT",
        help="image file, or a folder of them; for a text model, a text or a .txt file",
    )
    parser.add_argument(
        "--top", type=positive, default=3, metavar="N", help="classes to show (default: 3)"
    )
    parser.add_argument(
        "--out", type=filled, metavar="DIR", help="folder for pictures (default: RUN/predictions)"
    )
    parser.add_argument(
        "--as-is", action="store_true", help="only resize: do not invert, crop or centre"
    )
    parser.add_argument(
        "--length",
        type=positive,
        default=400,
        metavar="N",
        help="characters to write (default: 400)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.8,
        metavar="X",
        help="randomness of the text; 0 takes the most likely character (default: 0.8)",
    )
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="seed of the text (default: 0)"
    )
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    from gpudl.train import blas
    from gpudl.train.job import open_run, trained_model
    from gpudl.train.prepare import find_model
    from gpudl.train.tasks import Answer, task_of

    run, config = open_run(options.folder)
    task = task_of(find_model(config.model))
    device = choose_device(options.device)
    blas.set_threads(config.training.blas_threads)
    model, which = trained_model(run, config, device)
    answers = {
        Answer.CLASSES_OF_IMAGES: _classify,
        Answer.CLASSES_OF_TEXTS: _classify_texts,
        Answer.IMAGES: _reconstruct,
        Answer.TEXT: _continue,
    }
    kind = task.answer(model)
    if kind is None:
        raise CommandError(
            f"{config.model}: makes no predictions for an image; {_instead(task, model, run)}"
        )
    answers[kind](Request(run, config, task, model, which, options))
    return 0


def _instead(task: Task, model: Any, run: Run) -> str:
    evaluate = f", or run gpudl evaluate {run}" if task.judges(model) else ""
    return f"see the pictures in {run}{evaluate}"


def _classify(request: Request) -> None:
    import numpy as np

    from gpudl.data.transforms import normalize

    pictures, data = _read(request), request.config.data
    images = np.stack([picture.seen for picture in pictures])
    probabilities = _probabilities(request, normalize(images, data.mean, data.std))
    _introduce(request, pictures)
    print(_answers(request, "image", [str(p.path) for p in pictures], probabilities))

    def draw(path: Path, picture: Any, row: Any) -> None:
        from gpudl.train.report import draw_prediction

        draw_prediction(path, picture.original, picture.seen, row, data.classes, picture.path.name)

    _draw(request, pictures, probabilities, draw)


def _classify_texts(request: Request) -> None:
    from gpudl.data.labelled_text import padded

    texts = _texts(request)
    codes = padded(texts, request.config.data.characters, max(map(len, texts)))
    probabilities = _probabilities(request, codes)
    shown = [text if len(text) <= SHOWN else text[: SHOWN - 1] + "…" for text in texts]
    _introduce(request)
    print(_answers(request, "text", [" ".join(text.split()) for text in shown], probabilities))


def _reconstruct(request: Request) -> None:
    import numpy as np

    from gpudl.train.metrics import require_numbers
    from gpudl.train.tasks.reconstruction import reconstruct

    pictures = _read(request)
    seen = np.stack([picture.seen for picture in pictures])
    reconstructions = reconstruct(request.model, seen)
    if reconstructions is None:
        raise CommandError(
            f"{request.config.model}: does not return images of the same size; "
            + _instead(request.task, request.model, request.run)
        )
    require_numbers(reconstructions, str(request.run))
    _introduce(request, pictures)
    errors = np.square(reconstructions - seen).mean(axis=(1, 2, 3))
    rows = [(str(p.path), f"{error:.4f}") for p, error in zip(pictures, errors, strict=True)]
    print(table(("image", "mean squared error"), rows, right=(1,)))

    def draw(path: Path, picture: Any, reconstruction: Any) -> None:
        from gpudl.train.report import draw_grid

        names = ("as the model sees it", "reconstruction")
        rows = [picture.seen[None], reconstruction[None]]
        draw_grid(path, rows, names, picture.path.name)

    _draw(request, pictures, reconstructions, draw)


def _continue(request: Request) -> None:
    from gpudl.train.text import continue_text

    options, classes = request.options, request.config.data.classes
    settings = options.length, options.temperature, options.seed
    texts = [continue_text(request.model, classes, prompt, *settings) for prompt in _texts(request)]
    _introduce(request)
    print("\n".join(texts))


def _read(request: Request) -> list[Any]:
    from gpudl.train.picture import read_picture

    options = request.options
    return [
        read_picture(path, request.config, options.as_is)
        for given in options.inputs
        for path in _image_files(Path(given))
    ]


def _image_files(path: Path) -> list[Path]:
    """The image itself, or the images below a folder."""
    from gpudl.data.folder import SUFFIXES, images_below

    if not path.is_dir():
        return [path]
    images = images_below(path)
    if not images:
        raise CommandError(f"{path}: has no images (formats: {' '.join(SUFFIXES)})")
    return images


def _texts(request: Request) -> list[str]:
    """The given texts, or the contents of .txt files. Raises CommandError for an empty text or
    another file."""
    from gpudl.data.text import read_text

    texts = []
    for text in request.options.inputs:
        if not text.endswith(".txt") and text and Path(text).exists():
            raise CommandError(
                f"{text}: is not a text for {request.config.model}; "
                "give the text itself or a .txt file"
            )
        texts.append(read_text(Path(text)).strip("\n") if text.endswith(".txt") else text)
        if not texts[-1]:
            raise CommandError(f"predict: the text {text!r} is empty; give at least one character")
    return texts


def _introduce(request: Request, pictures: Sequence[Any] = ()) -> None:
    say(f"{request.config.model} from {request.run}, {request.which}")
    for picture in pictures:
        for assumption in picture.assumptions:
            say(f"{picture.path}: {assumption}")


def _probabilities(request: Request, batch: Any) -> Any:
    """Probabilities (N, classes) for a batch of model inputs, a NumPy array."""
    from gpudl import Tensor, no_grad
    from gpudl.train.checkpoint import to_numpy
    from gpudl.train.metrics import require_numbers, softmax

    device = next(request.model.parameters()).device
    with no_grad():
        logits = to_numpy(request.task.classify(request.model, Tensor(batch, device=device)))
    require_numbers(logits, str(request.run))
    return softmax(logits)


def _answers(request: Request, kind: str, names: list[str], probabilities: Any) -> str:
    classes = request.config.data.classes
    shown = min(request.options.top, len(classes))
    rows = []
    for name, row in zip(names, probabilities, strict=True):
        best = (-row).argsort(kind="stable")[:shown]
        rows.append((name, *(f"{classes[number]} {row[number]:.4f}" for number in best)))
    head = ("prediction", "second", "third", *(f"{number}th" for number in range(4, shown + 1)))
    return table((kind, *head[:shown]), rows)


def _draw(
    request: Request, pictures: list[Any], results: Any, draw: Callable[[Path, Any, Any], None]
) -> None:
    from gpudl.train import TrainingError

    out = request.options.out
    folder = Path(out) if out else request.run.folder / "predictions"
    if not out and folder.is_symlink():  # in a run of others, it could lead anywhere
        raise CommandError(f"{folder}: is a link; name the folder for pictures with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"{folder}: cannot be created ({error.strerror}); choose another folder with --out"
        ) from None
    taken: set[str] = set()
    try:
        for picture, result in zip(pictures, results, strict=True):
            stem, number = picture.path.stem, 2
            while stem in taken:
                stem, number = f"{picture.path.stem}-{number}", number + 1
            taken.add(stem)
            path = folder / f"{stem}.png"
            draw(path, picture, result)
            say(f"wrote {path}")
    except TrainingError as error:
        say(f"no pictures: {error}")
