"""Reads the values in a pickle without ever running it.

Loading a pickle executes what it says. Here a small machine of our own takes it apart instead: it
knows the few instructions that the published CIFAR batches are made of, calls nothing, and refuses
the rest. NumPy's arrays, which a pickle stores as calls, are recognised by their pattern and built
by us.

Source of the instructions: the comments in Python's module pickletools.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import damaged

# Byte of the instruction: its name, and the form of its argument, as in module struct. "s" before
# the form of a length: that many bytes follow. "lines": two lines of text.
INSTRUCTIONS = {
    b"\x80": ("proto", "B"),
    b".": ("stop", ""),
    b"}": ("empty_dict", ""),
    b"]": ("empty_list", ""),
    b")": ("empty_tuple", ""),
    b"N": ("none", ""),
    b"\x88": ("true", ""),
    b"\x89": ("false", ""),
    b"K": ("value", "<B"),
    b"M": ("value", "<H"),
    b"J": ("value", "<i"),
    b"U": ("value", "s<B"),
    b"T": ("value", "s<i"),
    b"(": ("mark", ""),
    b"q": ("put", "<B"),
    b"r": ("put", "<I"),
    b"h": ("get", "<B"),
    b"j": ("get", "<I"),
    b"t": ("tuple", ""),
    b"\x85": ("tuple1", ""),
    b"\x86": ("tuple2", ""),
    b"\x87": ("tuple3", ""),
    b"a": ("append", ""),
    b"e": ("appends", ""),
    b"s": ("setitem", ""),
    b"u": ("setitems", ""),
    b"c": ("global", "lines"),
    b"R": ("reduce", ""),
    b"b": ("build", ""),
}
RECONSTRUCT, NDARRAY, DTYPE = "numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"
CONSTANTS = {"none": None, "true": True, "false": False}
EMPTY = {"empty_dict": dict, "empty_list": list, "empty_tuple": tuple}
MARK = object()


class _RefusedError(Exception):
    """The pickle holds what the machine does not know, or is damaged."""


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass
class _Call:
    """A call as the pickle asks for it, and the state set afterwards; never made."""

    function: _Global
    arguments: Any
    state: Any = None


class _Machine:
    """A stack and a memo, as the real machine has them."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The one value that is left when the pickle stops."""
        while True:
            code = self.take(1)
            if code not in INSTRUCTIONS:
                raise _RefusedError(f"instruction {code!r}")
            name, form = INSTRUCTIONS[code]
            argument = self.argument(form)
            if name == "stop":
                return self.pop(object)
            self.step(name, argument)

    def take(self, count: int) -> bytes:
        taken = self.data[self.position : self.position + count]
        if count < 0 or len(taken) < count:
            raise _RefusedError("an end in the middle of an instruction")
        self.position += count
        return taken

    def argument(self, form: str) -> Any:
        if not form:
            return None
        if form == "lines":
            return " ".join(self.line() for _ in range(2))
        number = struct.unpack(form.lstrip("s"), self.take(struct.calcsize(form.lstrip("s"))))[0]
        return self.take(number) if form[0] == "s" else number

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 100)
        if end < 0:
            raise _RefusedError("an end in the middle of a line")
        return self.take(end + 1 - self.position)[:-1].decode("ascii", "replace")

    def pop(self, kind: type) -> Any:
        if not self.stack or self.stack[-1] is MARK or not isinstance(self.stack[-1], kind):
            raise _RefusedError("an instruction whose operands do not fit")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        taken = []
        while self.stack and self.stack[-1] is not MARK:
            taken.append(self.stack.pop())
        if not self.stack:
            raise _RefusedError("an instruction whose operands do not fit")
        self.stack.pop()
        return taken[::-1]

    def step(self, name: str, argument: Any) -> None:
        if name == "value":
            self.stack.append(argument)
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name == "mark":
            self.stack.append(MARK)
        elif name == "put":
            self.memo[argument] = self.pop(object)
            self.stack.append(self.memo[argument])
        elif name == "get":
            if argument not in self.memo:
                raise _RefusedError("a reference to nothing")
            self.stack.append(self.memo[argument])
        elif name in ("reduce", "build", "global"):
            self.call(name, argument)
        elif name != "proto":
            self.collect(name)

    def collect(self, name: str) -> None:
        """Tuples, lists and dictionaries out of what lies on the stack."""
        if name.startswith("tuple"):
            values = [self.pop(object) for _ in range(int(name[5:]))][::-1] if name[5:] else None
            self.stack.append(tuple(self.pop_to_mark() if values is None else values))
            return
        if name.endswith("s"):
            values = self.pop_to_mark()
        else:
            values = [self.pop(object) for _ in range(1 if name == "append" else 2)][::-1]
        target = self.pop(list if name.startswith("append") else dict)
        if isinstance(target, list):
            target.extend(values)
        elif len(values) % 2 or not all(isinstance(key, bytes) for key in values[::2]):
            raise _RefusedError("a dictionary whose keys are no strings")
        else:
            target.update(zip(values[::2], values[1::2], strict=True))
        self.stack.append(target)

    def call(self, name: str, argument: Any) -> None:
        """Notes a function, a call of it or the state of its result; makes no call."""
        if name == "global":
            if argument not in (RECONSTRUCT, NDARRAY, DTYPE):
                raise _RefusedError(f"the function {argument.replace(' ', '.')}")
            self.stack.append(_Global(argument))
        elif name == "reduce":
            arguments, function = self.pop(tuple), self.pop(_Global)
            self.stack.append(_Call(function, arguments))
        else:
            state, called = self.pop(tuple), self.pop(_Call)
            called.state = state
            self.stack.append(called)


def read_pickle(path: Path, data: bytes) -> dict[bytes, Any]:
    """The dictionary of strings (bytes), numbers, lists and uint8 arrays in a pickle of Python 2.

    `data` is the content of the file `path`. Raises DataError for everything else, above all for
    whatever would run code when loaded with Python's own module.
    """
    try:
        result = _Machine(data).run()
        if not isinstance(result, dict):
            raise _RefusedError("no dictionary")
        return {key: _array(value) for key, value in result.items()}
    except _RefusedError as refused:
        raise damaged(path, f"is not as it was published: its pickle holds {refused}") from None


def _array(value: Any) -> Any:
    """The uint8 array that a noted call describes; other values as they are."""
    if not isinstance(value, _Call):
        return value
    state = value.state
    if value.function.name != RECONSTRUCT or not isinstance(state, tuple) or len(state) != 5:
        raise _RefusedError("an object that is no array")
    _, shape, dtype, fortran, content = state
    if (
        not isinstance(dtype, _Call)
        or dtype.function.name != DTYPE
        or dtype.arguments[:1] != (b"u1",)
    ):
        raise _RefusedError("an array that is not of uint8")
    if not isinstance(content, bytes) or not _fits(shape, len(content)):
        raise _RefusedError("an array whose shape does not fit its content")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


def _fits(shape: Any, size: int) -> bool:
    if not isinstance(shape, tuple) or not all(type(n) is int and n > 0 for n in shape):
        return False
    return len(shape) < 5 and math.prod(shape) == size
