"""Takes pickles apart without ever running them.

Loading a pickle executes what it says. Here a small machine of our own follows its instructions
instead: it builds numbers, texts, tuples, lists and dictionaries, notes every call that the pickle
asks for, and makes none. A function that the caller does not know is refused by its name, and so
is every instruction that is not listed here.

Source of the instructions: Python's module pickletools, which also reads their arguments.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT")
TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
BYTES = ("BINBYTES", "SHORT_BINBYTES")
STRINGS_OF_PYTHON_2 = ("BINSTRING", "SHORT_BINSTRING")
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
COLLECT = ("TUPLE", *TUPLES, "APPEND", "APPENDS", "SETITEM", "SETITEMS")
MEMO = ("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET")
CALLS = ("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPERSID")
IGNORED = ("PROTO", "FRAME", "MARK", "STOP")
LISTED = {
    *CONSTANTS, *EMPTY, *NUMBERS, *TEXTS, *BYTES, *STRINGS_OF_PYTHON_2, *COLLECT, *MEMO, *CALLS,
    *IGNORED,
}  # fmt: skip
CODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
LONGEST_NAME = 200
MARK = object()


class RefusedError(ValueError):
    """The pickle holds what the machine or its caller does not know, or is damaged."""


@dataclass(frozen=True)
class Function:
    """A function, class or constant that the pickle names, as "module.name"."""

    name: str


@dataclass
class Call:
    """A call that the pickle asks for, the state and the items set afterwards; never made."""

    function: Function
    arguments: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


def no_reference(name: Any) -> Any:
    raise RefusedError("a reference to something outside")


def read(
    content: bytes | BinaryIO,
    known: Container[str] = (),
    reference: Callable[[Any], Any] = no_reference,
) -> Any:
    """The value in a pickle, with a `Call` or `Function` where it holds one.

    content: bytes, or a file, which is then left behind the pickle's end. known: the names that it
    may hold. reference: gives the value of something outside the pickle, by the name that its
    writer chose ("persistent id"). Strings of Python 2 come as bytes.
    Raises RefusedError for another name, naming it, and for what is damaged.
    """
    machine = _Machine(known, reference)
    try:
        for name, argument in _steps(
            io.BytesIO(content) if isinstance(content, bytes) else content
        ):
            machine.step(name, argument)
        return machine.pop(object)
    except RefusedError:
        raise
    except (ValueError, OverflowError, MemoryError) as error:
        raise RefusedError(f"damaged bytes ({error})") from None


def _steps(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """The instructions up to the last, each with its argument."""
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
        raise RefusedError("an end in the middle of a line")
    return line[:-1].decode("ascii")


class _Machine:
    """A stack and a memo, as the real machine has them."""

    def __init__(self, known: Container[str], reference: Callable[[Any], Any]) -> None:
        self.known, self.reference = known, reference
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self, kind: type) -> Any:
        if not self.stack or self.stack[-1] is MARK or not isinstance(self.stack[-1], kind):
            raise RefusedError("an instruction whose operands do not fit")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        taken = []
        while self.stack and self.stack[-1] is not MARK:
            taken.append(self.stack.pop())
        if not self.stack:
            raise RefusedError("an instruction whose operands do not fit")
        self.stack.pop()
        return taken[::-1]

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
        """The memo: what stands on top of the stack under a number, and back."""
        number = len(self.memo) if name == "MEMOIZE" else argument
        if "GET" not in name:
            self.memo[number] = self.pop(object)
        elif number not in self.memo:
            raise RefusedError("a reference to nothing")
        self.stack.append(self.memo[number])

    def collect(self, name: str) -> None:
        """Tuples, lists and dictionaries out of what lies on the stack."""
        if name == "TUPLE":
            self.stack.append(tuple(self.pop_to_mark()))
        elif name in TUPLES:
            self.stack.append(tuple([self.pop(object) for _ in range(TUPLES[name])][::-1]))
        elif name in ("APPEND", "APPENDS"):
            values = self.pop_to_mark() if name == "APPENDS" else [self.pop(object)]
            self.stack.append(target := self.pop(list))
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
            raise RefusedError("an instruction whose operands do not fit")
        if len(values) % 2 or not all(isinstance(k, (str, bytes, int)) for k in values[::2]):
            raise RefusedError("a dictionary whose keys are no strings or numbers")
        target.update(zip(values[::2], values[1::2], strict=True))

    def call(self, name: str, argument: Any) -> None:
        """Notes a function, a call of it or the state of its result; makes no call."""
        if name == "REDUCE":
            arguments, function = self.pop(tuple), self.pop(Function)
            self.stack.append(Call(function, arguments))
        elif name == "BUILD":
            state = self.pop(object)
            self.stack.append(called := self.pop(Call))
            called.state = state
        elif name == "BINPERSID":
            self.stack.append(self.reference(self.pop(object)))
        else:
            if name == "STACK_GLOBAL":
                last, module = self.pop(str), self.pop(str)
                argument = f"{module} {last}"
            function = ".".join(argument.split(" "))
            if function not in self.known:
                raise RefusedError(f"the function {function}")
            self.stack.append(Function(function))
