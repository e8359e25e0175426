"""Takes pickles apart without ever running them.

Loading a pickle executes what it says. Here a small machine of our own follows its instructions
instead: it builds numbers, texts, tuples, lists and dictionaries, notes every call that the pickle
asks for, and makes none. A function that the caller does not know is refused by its name, and so
is every instruction that is not listed here.

Source of the instructions: Python's module pickletools, which also splits the bytes into them.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any, BinaryIO

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT")
TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
BYTES = ("BINBYTES", "SHORT_BINBYTES")
STRINGS_OF_PYTHON_2 = ("BINSTRING", "SHORT_BINSTRING")
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = ("PROTO", "FRAME", "STOP")
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
        for opcode, argument, _ in pickletools.genops(content):
            machine.step(opcode.name, argument)
        return machine.pop(object)
    except RefusedError:
        raise
    except (ValueError, OverflowError, MemoryError) as error:
        raise RefusedError(f"damaged bytes ({error})") from None


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
        elif "PUT" in name or "GET" in name or name == "MEMOIZE":
            self.remember(name, argument)
        elif "GLOBAL" in name or name in ("REDUCE", "BUILD", "BINPERSID"):
            self.call(name, argument)
        elif name not in IGNORED:
            self.collect(name)

    def remember(self, name: str, argument: Any) -> None:
        """The memo: what stands on top of the stack under a number, and back."""
        if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            number = len(self.memo) if name == "MEMOIZE" else argument
            self.memo[number] = self.pop(object)
            self.stack.append(self.memo[number])
        elif name not in ("BINGET", "LONG_BINGET"):
            raise RefusedError(f"the instruction {name}")
        elif argument not in self.memo:
            raise RefusedError("a reference to nothing")
        else:
            self.stack.append(self.memo[argument])

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
        elif name in ("SETITEM", "SETITEMS"):
            two = [] if name == "SETITEMS" else [self.pop(object) for _ in range(2)][::-1]
            self.set_items(two or self.pop_to_mark())
        else:
            raise RefusedError(f"the instruction {name}")

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
