"""The parser of the command line."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from typing import Any, NoReturn

from gpudl.cli import bench, doctor, evaluate, models, predict, train, where, zoo

COMMANDS = (train, evaluate, predict, models, zoo, bench, where, doctor)


class Parser(argparse.ArgumentParser):
    """Errors are one line that points to the help, not the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"gpudl: error: {_with_suggestion(message)}; see {self.prog} --help\n")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Wraps paragraphs to the terminal, but not examples, whose lines are indented."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = text.split("\n\n")
        return "\n\n".join(
            block if "\n  " in block else textwrap.fill(block, width) for block in blocks
        )


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gpudl",
        description="Deep learning in hand-written, readable CUDA.",
        epilog="For the options of a command, see its help, for example: gpudl train --help",
    )
    parser.add_argument("--version", action=Version, nargs=0, help="show the version and exit")
    shared = Parser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        summary, _, details = (module.__doc__ or "").partition("\n")
        command = commands.add_parser(
            name,
            parents=[shared],
            help=summary.removesuffix("."),
            description=summary,
            epilog=details.strip() or None,
            formatter_class=Formatter,
            allow_abbrev=False,
        )
        module.add(command)
        command.set_defaults(run=module.run)
    return parser


class Version(argparse.Action):
    """Prints the version; a separate action, so that it is looked up only on request."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from gpudl import __version__

        print(f"gpudl {__version__}")
        parser.exit()


def _with_suggestion(message: str) -> str:
    """Adds the nearest of the choices that argparse lists, if a word was mistyped."""
    start, separator, choices = message.partition("(choose from ")
    if not separator or "'" not in start:
        return message
    wrong = start.split("'")[-2]
    known = [choice.strip(" ')") for choice in choices.split(",")]
    near = difflib.get_close_matches(wrong, known, 1)
    return f"{message}, did you mean {near[0]}?" if near else message
