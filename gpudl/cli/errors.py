"""Errors as one sentence with a fix."""

from __future__ import annotations

import errno

USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as in shells
UNREAD = 141  # 128 + SIGPIPE
TERMINATED = 143  # 128 + SIGTERM
LONGEST = 1000  # characters of a message, which may repeat names from a file
FULL = (errno.ENOSPC, errno.EDQUOT)
PLACE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR,
    errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip


class CommandError(Exception):
    """The command cannot be carried out; the message is one sentence with a fix."""


def explain(error: BaseException) -> str:
    """A one-line message for any exception, of at most LONGEST characters: beginning and end stay,
    what is wrong and how to fix it.

    gpudl's own errors say what is wrong and how to fix it. For others, whose message alone may not
    help, the line adds the type and how to see the traceback.
    """
    if getattr(error, "lists_addresses", False):
        return str(error)
    line = _line(error)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 300]} … {line[-297:]}"


def _line(error: BaseException) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, KeyError) and error.args:  # str() of a KeyError is its repr
        message = " ".join(str(error.args[0]).split())
    if type(error).__module__.startswith("gpudl."):
        return message
    if isinstance(error, MemoryError):
        return f"not enough memory ({message or 'no details'}); try a smaller --batch-size"
    if isinstance(error, (ValueError, KeyError, ImportError)) and message:
        return message
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        advice = {
            **dict.fromkeys(FULL, "; free some space or write to another folder"),
            **dict.fromkeys(PLACE, "; check the path and its permissions"),
            errno.EFBIG: "; raise the limit of file sizes (ulimit -f) or write to another folder",
            errno.EIO: "; the disk or its connection fails: check it, or write to another folder",
        }
        return f"{name}{error.strerror}{advice.get(error.errno or 0, '')}"
    return (
        f"unexpected {type(error).__name__}: {message or 'no message'}; "
        "add --debug to see where it comes from"
    )
