"""Ask a trained model about images.

Prints the probabilities of the classes and writes a picture for each image: as it came, as the
model sees it, and what it makes of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpudl.cli.arguments import add_device, choose_device, positive
from gpudl.cli.table import table

if TYPE_CHECKING:
    from gpudl.train import Config, Run


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="RUN", help="folder of a training, runs/lenet5-digits-1 say"
    )
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="PNG, JPEG and what else Pillow reads"
    )
    parser.add_argument(
        "--top", type=positive, default=3, metavar="N", help="classes shown (default: 3)"
    )
    parser.add_argument("--out", metavar="DIR", help="for the pictures (default: RUN/predictions)")
    parser.add_argument(
        "--as-is", action="store_true", help="only resize: do not invert, crop or centre"
    )
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    from gpudl.train import Run, TrainingError, blas
    from gpudl.train.job import trained_model
    from gpudl.train.picture import read_picture

    run = Run.open(options.folder)
    config = run.config()
    device = choose_device(options.device)
    blas.set_threads(config.training.blas_threads)
    model, which = trained_model(run, config, device)
    pictures = [read_picture(Path(image), config, options.as_is) for image in options.images]
    probabilities = _probabilities(model, config, device, [picture.seen for picture in pictures])
    print(f"{config.model} of {run}, {which}")
    for picture in pictures:
        for assumption in picture.assumptions:
            print(f"{picture.path}: {assumption}")
    print(_answers(options.images, probabilities, config.data.classes, options.top))
    try:
        _draw(run, options.out, pictures, probabilities, config)
    except TrainingError as error:
        print(f"no pictures: {error}")
    return 0


def _probabilities(model: Any, config: Config, device: str, images: list[Any]) -> Any:
    import numpy as np

    from gpudl import Tensor, no_grad
    from gpudl.data.transforms import normalize
    from gpudl.train.checkpoint import to_numpy
    from gpudl.train.metrics import softmax

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
    run: Run, out: str | None, pictures: list[Any], probabilities: Any, config: Config
) -> None:
    from gpudl.train.report import draw_prediction

    folder = Path(out) if out else run.folder / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for picture, row in zip(pictures, probabilities, strict=True):
        stem, number = picture.path.stem, 2
        while stem in taken:
            stem, number = f"{picture.path.stem}-{number}", number + 1
        taken.add(stem)
        path = folder / f"{stem}.png"
        draw_prediction(
            path, picture.original, picture.seen, row, config.data.classes, picture.path.name
        )
        print(f"wrote {path}")
