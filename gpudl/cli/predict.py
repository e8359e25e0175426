"""Ask a trained model about images, or let it go on with a text.

Of a classifier: prints the probabilities of the classes and writes a picture for each image: as it
came, as the model sees it, and what it makes of it. Of an autoencoder: writes the reconstruction.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpudl.cli.arguments import add_device, choose_device, positive
from gpudl.cli.errors import CommandError
from gpudl.cli.table import table

if TYPE_CHECKING:
    from gpudl.train import Config, Run


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="RUN", help="folder of a training, runs/lenet5-digits-1 say"
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IMAGE|TEXT",
        help="PNG, JPEG and what else Pillow reads; for a language model the text to go on from",
    )
    parser.add_argument(
        "--top", type=positive, default=3, metavar="N", help="classes shown (default: 3)"
    )
    parser.add_argument("--out", metavar="DIR", help="for the pictures (default: RUN/predictions)")
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
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of it (default: 0)")
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    from gpudl.train import Run, blas
    from gpudl.train.job import trained_model
    from gpudl.train.prepare import find_model

    run = Run.open(options.folder)
    config = run.config()
    kinds = {
        "classification": _classify,
        "reconstruction": _reconstruct,
        "language": _continue,
    }
    task = find_model(config.model).task
    if task not in kinds:
        raise CommandError(
            f"{config.model}: is no model to ask about an image; see the pictures in {run}"
        )
    device = choose_device(options.device)
    blas.set_threads(config.training.blas_threads)
    model, which = trained_model(run, config, device)
    kinds[task](options, run, config, model, which)
    return 0


def _classify(
    options: argparse.Namespace, run: Run, config: Config, model: Any, which: str
) -> None:
    pictures = _read(options, config)
    probabilities = _probabilities(model, config, [picture.seen for picture in pictures])
    _introduce(run, config, which, pictures)
    print(_answers(options.inputs, probabilities, config.data.classes, options.top))

    def draw(path: Path, picture: Any, row: Any) -> None:
        from gpudl.train.report import draw_prediction

        draw_prediction(
            path, picture.original, picture.seen, row, config.data.classes, picture.path.name
        )

    _draw(run, options.out, pictures, probabilities, draw)


def _reconstruct(
    options: argparse.Namespace, run: Run, config: Config, model: Any, which: str
) -> None:
    import numpy as np

    from gpudl.train.tasks.reconstruction import reconstruct

    pictures = _read(options, config)
    seen = np.stack([picture.seen for picture in pictures])
    found = reconstruct(model, seen)
    if found is None:
        raise CommandError(f"{config.model}: gives no images back; it cannot be asked about one")
    _introduce(run, config, which, pictures)
    errors = np.square(found - seen).mean(axis=(1, 2, 3))
    rows = [(name, f"{error:.4f}") for name, error in zip(options.inputs, errors, strict=True)]
    print(table(("image", "mean squared error"), rows, right=(1,)))

    def draw(path: Path, picture: Any, made: Any) -> None:
        from gpudl.train.report import draw_grid

        names = ("as the model sees it", "reconstruction")
        draw_grid(path, [picture.seen[None], made[None]], names, picture.path.name)

    _draw(run, options.out, pictures, found, draw)


def _continue(
    options: argparse.Namespace, run: Run, config: Config, model: Any, which: str
) -> None:
    from gpudl.train.text import continue_text

    print(f"{config.model} of {run}, {which}")
    for prompt in options.inputs:
        print(
            continue_text(
                model,
                config.data.classes,
                prompt,
                options.length,
                options.temperature,
                options.seed,
            )
        )


def _read(options: argparse.Namespace, config: Config) -> list[Any]:
    from gpudl.train.picture import read_picture

    return [read_picture(Path(image), config, options.as_is) for image in options.inputs]


def _introduce(run: Run, config: Config, which: str, pictures: list[Any]) -> None:
    print(f"{config.model} of {run}, {which}")
    for picture in pictures:
        for assumption in picture.assumptions:
            print(f"{picture.path}: {assumption}")


def _probabilities(model: Any, config: Config, images: list[Any]) -> Any:
    import numpy as np

    from gpudl import Tensor, no_grad
    from gpudl.data.transforms import normalize
    from gpudl.train.checkpoint import to_numpy
    from gpudl.train.metrics import softmax

    device = next(model.parameters()).device
    batch = normalize(np.stack(images), config.data.mean, config.data.std)
    with no_grad():
        return softmax(to_numpy(model(Tensor(batch, device=device))))


def _answers(names: list[str], probabilities: Any, classes: tuple[str, ...], top: int) -> str:
    shown = min(top, len(classes))
    rows = []
    for name, row in zip(names, probabilities, strict=True):
        best = (-row).argsort(kind="stable")[:shown]
        rows.append((name, *(f"{classes[number]} {row[number]:.4f}" for number in best)))
    places = ("prediction", "second", "third", *(f"{number}th" for number in range(4, shown + 1)))
    return table(("image", *places[:shown]), rows)


def _draw(
    run: Run,
    out: str | None,
    pictures: list[Any],
    results: Any,
    draw: Callable[[Path, Any, Any], None],
) -> None:
    from gpudl.train import TrainingError

    folder = Path(out) if out else run.folder / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
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
