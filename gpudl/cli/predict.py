"""Ask a trained model about images or texts.

Of a classifier: prints the probabilities of the classes; for each image it also writes a picture:
as it came, as the model sees it, and what it makes of it. Of an autoencoder: writes the
reconstruction. Of a language model: prints how it goes on from the text.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpudl.cli.arguments import add_device, choose_device, filled, natural, positive
from gpudl.cli.errors import CommandError
from gpudl.cli.table import table

if TYPE_CHECKING:
    from gpudl.train import Config, Run
    from gpudl.train.tasks import Task

SHOWN = 40  # characters of a text


class Asked(NamedTuple):
    """A trained model, which of its weights it has, and what it is asked."""

    run: Run
    config: Config
    task: Task
    model: Any
    which: str
    options: argparse.Namespace


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="RUN", help="folder of a training, runs/lenet5-digits-1 say"
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IMAGE|TEXT",
        help="PNG, JPEG and what else Pillow reads; of a model of texts a text or a .txt file",
    )
    parser.add_argument(
        "--top", type=positive, default=3, metavar="N", help="classes shown (default: 3)"
    )
    parser.add_argument(
        "--out", type=filled, metavar="DIR", help="for the pictures (default: RUN/predictions)"
    )
    parser.add_argument(
        "--as-is", action="store_true", help="only resize: do not invert, crop or centre"
    )
    parser.add_argument(
        "--length", type=positive, default=400, metavar="N", help="characters (default: 400)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.8,
        metavar="X",
        help="of the characters' draw; 0 takes the likeliest (default: 0.8)",
    )
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="of it (default: 0)")
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    from gpudl.train import Run, blas
    from gpudl.train.job import trained_model
    from gpudl.train.prepare import find_model
    from gpudl.train.tasks import Answer, task_of

    run = Run.open(options.folder)
    config = run.config()
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
            f"{config.model}: cannot be asked about an image; {_instead(task, model, run)}"
        )
    answers[kind](Asked(run, config, task, model, which, options))
    return 0


def _instead(task: Task, model: Any, run: Run) -> str:
    judged = f", or gpudl evaluate {run}" if task.judges(model) else ""
    return f"see the pictures in {run}{judged}"


def _classify(asked: Asked) -> None:
    import numpy as np

    from gpudl.data.transforms import normalize

    pictures, data = _read(asked), asked.config.data
    images = np.stack([picture.seen for picture in pictures])
    probabilities = _probabilities(asked, normalize(images, data.mean, data.std))
    _introduce(asked, pictures)
    print(_answers(asked, "image", asked.options.inputs, probabilities))

    def draw(path: Path, picture: Any, row: Any) -> None:
        from gpudl.train.report import draw_prediction

        draw_prediction(path, picture.original, picture.seen, row, data.classes, picture.path.name)

    _draw(asked, pictures, probabilities, draw)


def _classify_texts(asked: Asked) -> None:
    from gpudl.data.labelled_text import padded

    texts = _texts(asked)
    codes = padded(texts, asked.config.data.characters, max(map(len, texts)))
    probabilities = _probabilities(asked, codes)
    shown = [text if len(text) <= SHOWN else text[: SHOWN - 1] + "…" for text in texts]
    _introduce(asked)
    print(_answers(asked, "text", [" ".join(text.split()) for text in shown], probabilities))


def _reconstruct(asked: Asked) -> None:
    import numpy as np

    from gpudl.train.tasks.reconstruction import reconstruct

    pictures = _read(asked)
    seen = np.stack([picture.seen for picture in pictures])
    found = reconstruct(asked.model, seen)
    if found is None:
        raise CommandError(
            f"{asked.config.model}: gives no images back, so it cannot be asked about one; "
            + _instead(asked.task, asked.model, asked.run)
        )
    _introduce(asked, pictures)
    errors = np.square(found - seen).mean(axis=(1, 2, 3))
    names = asked.options.inputs
    rows = [(name, f"{error:.4f}") for name, error in zip(names, errors, strict=True)]
    print(table(("image", "mean squared error"), rows, right=(1,)))

    def draw(path: Path, picture: Any, made: Any) -> None:
        from gpudl.train.report import draw_grid

        names = ("as the model sees it", "reconstruction")
        draw_grid(path, [picture.seen[None], made[None]], names, picture.path.name)

    _draw(asked, pictures, found, draw)


def _continue(asked: Asked) -> None:
    from gpudl.train.text import continue_text

    options, classes = asked.options, asked.config.data.classes
    how = options.length, options.temperature, options.seed
    texts = [continue_text(asked.model, classes, prompt, *how) for prompt in _texts(asked)]
    _introduce(asked)
    print("\n".join(texts))


def _read(asked: Asked) -> list[Any]:
    from gpudl.train.picture import read_picture

    options = asked.options
    return [read_picture(Path(image), asked.config, options.as_is) for image in options.inputs]


def _texts(asked: Asked) -> list[str]:
    """The texts; of the names of .txt files, what is in them. Raises CommandError for an empty
    one, and for other files."""
    from gpudl.data.text import read_text

    found = []
    for text in asked.options.inputs:
        if not text.endswith(".txt") and text and Path(text).exists():
            raise CommandError(
                f"{text}: is no text, which {asked.config.model} reads; "
                "give the text itself or a .txt file"
            )
        found.append(read_text(Path(text)).strip("\n") if text.endswith(".txt") else text)
        if not found[-1]:
            raise CommandError(f"predict: the text {text!r} is empty; give a character or more")
    return found


def _introduce(asked: Asked, pictures: Sequence[Any] = ()) -> None:
    print(f"{asked.config.model} of {asked.run}, {asked.which}")
    for picture in pictures:
        for assumption in picture.assumptions:
            print(f"{picture.path}: {assumption}")


def _probabilities(asked: Asked, batch: Any) -> Any:
    """(N, classes) of a NumPy array as the model takes it."""
    from gpudl import Tensor, no_grad
    from gpudl.train.checkpoint import to_numpy
    from gpudl.train.metrics import softmax

    device = next(asked.model.parameters()).device
    with no_grad():
        return softmax(to_numpy(asked.task.classify(asked.model, Tensor(batch, device=device))))


def _answers(asked: Asked, kind: str, names: list[str], probabilities: Any) -> str:
    classes = asked.config.data.classes
    shown = min(asked.options.top, len(classes))
    rows = []
    for name, row in zip(names, probabilities, strict=True):
        best = (-row).argsort(kind="stable")[:shown]
        rows.append((name, *(f"{classes[number]} {row[number]:.4f}" for number in best)))
    places = ("prediction", "second", "third", *(f"{number}th" for number in range(4, shown + 1)))
    return table((kind, *places[:shown]), rows)


def _draw(
    asked: Asked, pictures: list[Any], results: Any, draw: Callable[[Path, Any, Any], None]
) -> None:
    from gpudl.train import TrainingError

    out = asked.options.out
    folder = Path(out) if out else asked.run.folder / "predictions"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"{folder}: is no folder for pictures ({error.strerror}); name another with --out"
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
            print(f"wrote {path}")
    except TrainingError as error:
        print(f"no pictures: {error}")
