"""Arguments and checks that several commands share."""

from __future__ import annotations

import argparse
import re

from gpudl.cli.errors import CommandError


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        help="cpu, emulator, cuda or cuda:N (default: cuda if it works, else cpu)",
    )


def add_data(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--data",
        type=filled,
        metavar="NAME|PATH",
        help="data set, folder of images or of .txt files by class, .npz or .txt file "
        f"(default: {default})",
    )
    parser.add_argument(
        "--data-dir",
        type=filled,
        metavar="DIR",
        help="folder with the files of the data set (default: $GPUDL_DATA, then a download)",
    )


def add_classes(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--classes", type=_classes, metavar="A,B,…", help=text)


def choose_device(requested: str | None) -> str:
    """The requested device, by default the best one that works. Raises CommandError if the
    requested one does not."""
    from gpudl.devices.find import why_missing

    if requested is None:
        return "cpu" if why_missing("cuda") else "cuda"
    if requested not in ("cpu", "emulator") and not re.fullmatch(r"cuda(:\d+)?", requested):
        raise CommandError(
            f"--device: {requested!r} is unknown; give cpu, emulator, cuda or cuda:N"
        )
    if reason := why_missing(requested):
        one_line = " ".join(reason.split()).rstrip(".")
        raise CommandError(f"--device {requested}: {one_line}; or use --device cpu")
    return requested


def _classes(text: str) -> tuple[str, ...]:
    """Names or labels separated by commas, for argparse."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name; give 1,5 for example")
    return names


def filled(text: str) -> str:
    """A text that is not empty, for argparse: an unset shell variable gives an empty text, which
    must not select the default."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is empty; give a value or leave it out")
    return text


def seconds(text: str) -> float:
    """A number from 0 up, for argparse."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0 up")
    return value


def natural(text: str) -> int:
    """A whole number from 0 up, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def positive(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
