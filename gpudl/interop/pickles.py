"""Reads pickles without executing them.

Loading a pickle runs the calls in it. This interpreter only builds numbers, strings, tuples, lists
and dictionaries (a set becomes a list, a frozenset a tuple); it records the calls that a pickle
requests and makes none. Instructions that are not listed here are refused by name.

Source of the instructions: Python's module pickletools, which also reads their arguments.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, type] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
}
NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT")
TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
STRINGS_OF_PYTHON_2 = ("BINSTRING", "SHORT_BINSTRING")
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
COLLECT = (
    "TUPLE", *TUPLES, "FROZENSET", "APPEND", "APPENDS", "ADDITEMS", "SETITEM", "SETITEMS",
)  # fmt: skip
MEMO = ("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET")
CALLS = ("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "BINPERSID")
IGNORED = ("PROTO", "FRAME", "MARK", "STOP")
LISTED = {
    *CONSTANTS, *EMPTY, *NUMBERS, *TEXTS, *BYTES, *STRINGS_OF_PYTHON_2, *COLLECT, *MEMO, *CALLS,
    *IGNORED,
}  # fmt: skip
CODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
LONGEST_NAME = 200
MARK = object()


class RefusedError(ValueError):
    """The pickle is damaged or holds something that the interpreter or its caller refuses.

    The message is a noun phrase for the rejected content.
    """


@dataclass(frozen=True)
class Function:
    """A function, class or constant named in the pickle, as "module.name"."""

    name: str


@dataclass(eq=False)
class Call:
    """A call requested by the pickle; never made.

    state, items, elements: what the pickle sets on the result, as on an object, dict and list.
    """

    function: Function
    arguments: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)


def _refuse_reference(name: Any) -> Any:
    raise RefusedError("a reference to an external object")


def read(
    content: bytes | BinaryIO,
    known: Container[str] | None = (),
    reference: Callable[[Any], Any] = _refuse_reference,
) -> Any:
    """The value in a pickle, with a `Call` or `Function` in place of each call or function.

    content: bytes, or a file, whose position is then the end of the pickle. known: the functions
    that the pickle may name, None for any. reference: returns the value of an external object for
    its "persistent id". Python 2 strings are returned as bytes.
    The values may be nested to any depth: repr(), == and hash() of them can run out of stack.
    Raises RefusedError for any other function, which the message names, and for damage.
    """
    interpreter = _Interpreter(known, reference)
    try:
        for name, argument in _steps(
            io.BytesIO(content) if isinstance(content, bytes) else content
        ):
            interpreter.step(name, argument)
        return interpreter.pop(object)
    except RefusedError:
        raise
    except (ValueError, OverflowError, MemoryError, EOFError) as error:
        raise RefusedError(f"damaged bytes ({error})") from None


def _is_key(value: Any) -> bool:
    """Nested tuples are not keys: their hash takes unlimited stack or time."""
    parts = value if isinstance(value, tuple) else (value,)
    return all(
        part is None or isinstance(part, (str, bytes, int, float, Call, Function)) for part in parts
    )


def _steps(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """The instructions up to STOP, each with its argument."""
    name = ""
    while name != "STOP":
        code = file.read(1)
        if code not in CODES:
            raise RefusedError(f"the instruction {code!r}" if code else "damaged bytes (no end)")
        opcode = CODES[code]
        name = opcode.name
        if name not in LISTED:
            raise RefusedError(f"the instruction {name}")
        if name == "GLOBAL":
            yield name, f"{_line(file)} {_line(file)}"
        else:
            yield name, None if opcode.arg is None else opcode.arg.reader(file)


def _line(file: BinaryIO) -> str:
    line = file.readline(LONGEST_NAME)
    if not line.endswith(b"\n"):
        raise RefusedError("a line without an end")
    return line[:-1].decode("ascii")


class _Interpreter:
    """Keeps a stack and a memo, as Python's unpickler does."""

    def __init__(self, known: Container[str] | None, reference: Callable[[Any], Any]) -> None:
        self.known, self.reference = known, reference
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self, kind: type) -> Any:
        if not self.stack or self.stack[-1] is MARK or not isinstance(self.stack[-1], kind):
            raise RefusedError("an instruction with wrong operands")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        values = []
        while self.stack and self.stack[-1] is not MARK:
            values.append(self.stack.pop())
        if not self.stack:
            raise RefusedError("an instruction with wrong operands")
        self.stack.pop()
        return values[::-1]

    def step(self, name: str, argument: Any) -> None:
        if name in NUMBERS or name in TEXTS or name in BYTES:
            self.stack.append(argument)
        elif name in STRINGS_OF_PYTHON_2:
            self.stack.append(argument.encode("latin-1"))
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name == "MARK":
            self.stack.append(MARK)
        elif name in MEMO:
            self.remember(name, argument)
        elif name in CALLS:
            self.call(name, argument)
        elif name in COLLECT:
            self.collect(name)

    def remember(self, name: str, argument: Any) -> None:
        """Stores the top of the stack in the memo under a number, or pushes a stored value."""
        number = len(self.memo) if name == "MEMOIZE" else argument
        if "GET" not in name:
            self.memo[number] = self.pop(object)
        elif number not in self.memo:
            raise RefusedError("a reference to an empty memo entry")
        self.stack.append(self.memo[number])

    def collect(self, name: str) -> None:
        """Builds tuples, lists and dictionaries from values on the stack."""
        if name in ("TUPLE", "FROZENSET"):
            self.stack.append(tuple(self.pop_to_mark()))
        elif name in TUPLES:
            self.stack.append(tuple([self.pop(object) for _ in range(TUPLES[name])][::-1]))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            values = [self.pop(object)] if name == "APPEND" else self.pop_to_mark()
            self.stack.append(target := self.pop(object))
            if isinstance(target, Call):
                target = target.elements
            if not isinstance(target, list):
                raise RefusedError("an instruction with wrong operands")
            target.extend(values)
        elif name == "SETITEMS":
            self.set_items(self.pop_to_mark())
        else:
            self.set_items([self.pop(object) for _ in range(2)][::-1])

    def set_items(self, values: list[Any]) -> None:
        self.stack.append(target := self.pop(object))
        if isinstance(target, Call):
            target = target.items
        if not isinstance(target, dict):
            raise RefusedError("an instruction with wrong operands")
        if len(values) % 2 or not all(map(_is_key, values[::2])):
            raise RefusedError("a dictionary whose keys are not strings, numbers or tuples of them")
        target.update(zip(values[::2], values[1::2], strict=True))

    def call(self, name: str, argument: Any) -> None:
        """Records a function, a call of it or the state of its result; makes no call."""
        if name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            options = self.pop(dict) if name == "NEWOBJ_EX" else {}
            arguments, function = self.pop(tuple), self.pop(object)
            if isinstance(function, Call):  # a function that another call returns
                function = Function(f"{function.function.name}()")
            if not isinstance(function, Function):
                raise RefusedError("an instruction with wrong operands")
            self.stack.append(Call(function, (*arguments, *options.values())))
        elif name == "BUILD":
            state = self.pop(object)
            self.stack.append(call := self.pop(Call))
            call.state = state
        elif name == "BINPERSID":
            self.stack.append(self.reference(self.pop(object)))
        else:
            if name == "STACK_GLOBAL":
                last, module = self.pop(str), self.pop(str)
                argument = f"{module} {last}"
            function = ".".join(argument.split(" "))
            if self.known is not None and function not in self.known:
                raise RefusedError(f"the function {function}")
            self.stack.append(Function(function))
