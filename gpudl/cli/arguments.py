"""Arguments and checks that several commands share."""

from __future__ import annotations

import argparse
import re

from gpudl.cli.errors import CommandError


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        help="cpu, emulator, cuda or cuda:N (default: cuda where it works, else cpu)",
    )


def add_data(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--data",
        metavar="NAME|PATH",
        help=f"data set, folder of images by class, or .npz file (default: {default})",
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder with the files of the data set (default: $GPUDL_DATA, then a download)",
    )


def choose_device(asked: str | None) -> str:
    """The device asked for, or the best that works. Raises CommandError where it does not."""
    from gpudl.device import why_missing

    if asked is None:
        return "cpu" if why_missing("cuda") else "cuda"
    if asked not in ("cpu", "emulator") and not re.fullmatch(r"cuda(:\d+)?", asked):
        raise CommandError(f"--device: {asked!r} is unknown; give cpu, emulator, cuda or cuda:N")
    if reason := why_missing(asked):
        one_line = " ".join(reason.split()).rstrip(".")
        raise CommandError(f"--device {asked}: {one_line}; or use --device cpu")
    return asked


def positive(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
