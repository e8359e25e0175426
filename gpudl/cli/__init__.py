"""The command line: gpudl train | evaluate | predict | models | zoo | bench | where | doctor.

Each command is a module with `add` (its arguments) and `run` (its work). Heavy modules are imported
only when a command needs them.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

from gpudl.cli.errors import INTERRUPTED, UNREAD, USAGE, CommandError, explain
from gpudl.cli.output import Clean, discard_output, make_printable
from gpudl.cli.parser import build_parser

__all__ = ["CommandError", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0, 2 for errors, 130 after Ctrl-C, 141 if the output is
    no longer read.

    Errors are one sentence on stderr; --debug shows their traceback.
    """
    make_printable()
    with redirect_stdout(Clean(sys.stdout)), redirect_stderr(Clean(sys.stderr)):
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    try:
        arguments = sys.argv[1:] if argv is None else list(argv)
        options = build_parser().parse_args(arguments or ["--help"])
    except SystemExit as stop:  # argparse has printed help or an error
        return int(stop.code or 0)
    try:
        with warnings.catch_warnings():
            if not options.debug:
                warnings.simplefilter("ignore")
            code: int = options.run(options)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        print("\ngpudl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `gpudl models | head`: the reader closed the pipe
        discard_output()
        return UNREAD
    except Exception as error:
        if options.debug:
            raise
        try:
            print(f"gpudl: error: {explain(error)}", file=sys.stderr)
            sys.stdout.flush()
        except OSError:  # for example a full disk, which Python would report again at exit
            discard_output()
        return USAGE
