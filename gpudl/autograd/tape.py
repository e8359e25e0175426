"""The tape: which operator produced which array, and the backward walk along it.

Nodes are numbered in creation order, so a node's consumers have larger numbers. The walk takes
nodes in descending order and so has every gradient of an output before it needs their sum. To the
walk gradients are opaque: only the three functions of a `Walk` know that they are arrays.
"""

from __future__ import annotations

import itertools
from _thread import _local  # threading.local; the module itself takes a millisecond to import
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple, TypeVar, cast, overload

import numpy as np

from gpudl.core.op import Array, Op
from gpudl.devices.find import Device, MetaArray

_numbers = itertools.count()
CO_GENERATOR = 0x20  # the flag of code that yields; `inspect` takes long to import
F = TypeVar("F", bound=Callable[..., Any])
Version = list[int]  # one counter, shared by all tensors that share memory
# Takes a gradient and its device, returns what replaces the gradient.
Hook = Callable[[Array, Device], Array]
Hooks = dict[int, Hook]  # in the order of registration


class _Mode(_local):
    recording = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations are recorded on the tape."""
    return _mode.recording


class _GradMode:
    """Switches recording inside a with statement or a decorated function or generator."""

    mode: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_mode.recording)
        _mode.recording = self.mode

    def __exit__(self, *_: object) -> None:
        _mode.recording = self._before.pop()

    def __call__(self, function: F) -> F:
        if getattr(function, "__code__", None) and function.__code__.co_flags & CO_GENERATOR:
            return cast(F, wraps(function)(partial(_run_generator, self.mode, function)))

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with switched(self.mode):
                return function(*args, **kwargs)

        return cast(F, wrapped)


class switched(_GradMode):  # noqa: N801
    """Recording on or off, as a context manager only."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = mode


class set_grad_enabled(switched):  # noqa: N801 (PyTorch's name)
    """Switch recording on or off: at once as a statement, for its block as a context manager, for
    the function as a decorator."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._previous = _mode.recording
        _mode.recording = self.mode

    def __enter__(self) -> None:
        self._before.append(self._previous)
        _mode.recording = self.mode

    def __call__(self, function: F) -> F:
        _mode.recording = self._previous  # a decorator switches nothing until the function runs
        return super().__call__(function)


class no_grad(_GradMode):  # noqa: N801 (PyTorch's name)
    """Record nothing inside. A context manager and a decorator: `@no_grad()` or `@no_grad`."""

    mode = False

    @overload
    def __new__(cls) -> no_grad: ...
    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]
    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)


class enable_grad(_GradMode):  # noqa: N801 (PyTorch's name)
    """Record again inside; used like no_grad."""

    mode = True

    @overload
    def __new__(cls) -> enable_grad: ...
    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]
    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)


def _run_generator(mode: bool, function: Any, *args: Any, **kwargs: Any) -> Any:
    """The generator, with recording switched while its own code runs but not at its yields."""
    generator = function(*args, **kwargs)
    resume, value = generator.send, None
    try:
        while True:
            with switched(mode):
                value = resume(value)
            try:
                value, resume = (yield value), generator.send
            except GeneratorExit:
                with switched(mode):
                    generator.close()
                raise
            except BaseException as error:
                value, resume = error, generator.throw
    except StopIteration as done:
        return done.value


class Taped:
    """Anything with a place on the tape; the base of Tensor."""

    array: Array  # numpy.ndarray or cupy.ndarray, as the device has it
    device: Device
    _cell: Version
    # Class attributes serve the many tensors that never set these.
    _node: Node | None = None
    _index: int = 0  # which output of _node
    _requires_grad: bool = False  # as a leaf
    _hooks: Hooks | None = None  # as a leaf
    _view: Any = None  # a views.View
    _stamp: int = 0  # the last recorded in-place change that this tensor has seen

    def _edge(self) -> Any:
        """Where its gradient goes: (node, output), the tensor itself if a leaf, or None."""
        if self._view is not None:
            self._view.refresh(self)
        return self._place()

    def _place(self) -> Any:
        if self._node is not None:
            return (self._node, self._index)
        return self if self._requires_grad else None


class Node:
    """One executed operator: where its inputs came from, and how to turn gradients of its outputs
    into gradients of its inputs. edges: per input a (Node, output number), a leaf, or None."""

    __slots__ = ("__weakref__", "device", "edges", "hooks", "name", "number", "outputs", "retained")

    def __init__(self, name: str, edges: tuple[Any, ...], outputs: int, device: Device) -> None:
        self.name = name
        self.edges = edges
        self.outputs = outputs
        self.device = device
        self.number = next(_numbers)
        self.hooks: dict[int, Hooks] | None = None  # by output
        self.retained: dict[int, Taped] | None = None

    def __lt__(self, other: Node) -> bool:  # for the heap: newest first
        return self.number > other.number

    @property
    def needs(self) -> tuple[bool, ...]:
        return tuple([edge is not None for edge in self.edges])

    def retain(self, index: int, tensor: Taped) -> None:
        """Deliver the gradient of an output to this tensor as well."""
        if self.retained is None:
            self.retained = {}
        self.retained[index] = tensor

    def forget_retained(self, index: int) -> bool:
        """Stop retaining the gradient of an output. Returns whether it was retained."""
        return self.retained is not None and self.retained.pop(index, None) is not None

    def run(self, dys: tuple[Array | None, ...]) -> Sequence[Array | None]:
        raise TypeError(f"{self.name} has no gradient")

    def release(self) -> None:
        """Free the saved arrays."""

    def keep_old(self, array: Array, version: Version) -> None:
        """Called before the array is overwritten: if backward needs it, save a copy."""


class OpNode(Node):
    """A node that runs `op.backward` on its device."""

    __slots__ = ("op", "saved", "versions", "wide")

    def __init__(
        self,
        op: Op,
        device: Device,
        edges: tuple[Any, ...],
        saved: Any,
        versions: Sequence[tuple[str, Version, int]] = (),
        wide: bool = False,
    ) -> None:
        self.name = op.name
        self.edges = edges
        self.outputs = len(op.outputs)
        self.number = next(_numbers)
        self.hooks = self.retained = None
        self.op = op
        self.device = device
        self.saved = saved
        self.versions = versions
        self.wide = wide

    def run(self, dys: tuple[Array | None, ...]) -> Sequence[Array | None]:
        if self.saved is None:
            raise RuntimeError(
                f"{self.name}: an earlier backward pass freed the saved arrays; "
                "call backward(retain_graph=True) the first time"
            )
        for name, version, then in self.versions:
            if version[0] != then:
                raise RuntimeError(
                    f"{self.name}: {name} is needed for the gradient but has since been changed in "
                    f"place (version {version[0]}, was {then}); use an operation that returns a "
                    "new tensor"
                )
        backward = self.device.backward_wide if self.wide else self.device.backward
        return backward(self.op, dys, self.saved, self.needs)

    def release(self) -> None:
        self.saved = None
        self.versions = ()

    def keep_old(self, array: Array, version: Version) -> None:
        names = [n for n in self.op.saves if getattr(self.saved, n) is array]
        if names and not isinstance(array, MetaArray):
            old = array.copy()
            self.saved = self.saved._replace(**dict.fromkeys(names, old))
            self.versions = [v for v in self.versions if v[0] not in names]


class Walk(NamedTuple):
    """What a walk does with gradients. add: sums two. run: takes a node and the gradients of its
    outputs, returns those of its inputs. call: takes a hook, a gradient and its device, returns
    what replaces the gradient."""

    add: Callable[[Any, Any], Any]
    run: Callable[[Node, tuple[Any, ...]], Sequence[Any]]
    call: Callable[[Hook, Any, Device], Any]


@np.errstate(all="ignore")
def _plus(a: Array, b: Array) -> Array:
    return a if isinstance(a, MetaArray) else a + b


ON_ARRAYS = Walk(
    add=_plus,
    run=lambda node, dys: node.run(dys),
    call=lambda hook, gradient, device: hook(gradient, device),
)


def walk(
    roots: Iterable[tuple[Any, Any]],
    retain_graph: bool,
    only: Iterable[Taped] | None = None,
    how: Walk = ON_ARRAYS,
) -> list[tuple[Taped, Any]]:
    """Walk back from `roots` (edge, gradient) and return tensors with their gradients: those in
    `only`, otherwise all leaves reached and all tensors that retain their gradients."""
    import heapq  # here, because not every program runs backward

    pending: dict[Node, list[Any]] = {}
    heap: list[Node] = []
    leaves: dict[int, tuple[Taped, Any]] = {}
    found: list[tuple[Taped, Any]] = []
    watched = {t._edge(): t for t in only or () if t._node is not None}

    def send(edge: Any, gradient: Any) -> None:
        if isinstance(edge, tuple):
            node, index = edge
            slots = pending.get(node)
            if slots is None:
                slots = pending[node] = [None] * node.outputs
                heapq.heappush(heap, node)
            old = slots[index]
            slots[index] = gradient if old is None else how.add(old, gradient)
        else:
            known = leaves.get(id(edge))
            leaves[id(edge)] = (edge, gradient if known is None else how.add(known[1], gradient))

    for edge, gradient in roots:
        send(edge, gradient)
    while heap:
        node = heapq.heappop(heap)
        slots = pending.pop(node)
        if node.hooks:
            for index, hooks in node.hooks.items():
                if slots[index] is not None:
                    slots[index] = _through(hooks, slots[index], node.device, how)
        if watched:
            found += [(watched[node, i], g) for i, g in _given(slots) if (node, i) in watched]
        elif only is None and node.retained:
            found += [(node.retained[i], g) for i, g in _given(slots) if i in node.retained]
        gradients = how.run(node, tuple(slots))
        if not retain_graph:
            node.release()
        for edge, gradient in zip(node.edges, gradients, strict=True):
            if edge is not None and gradient is not None:
                send(edge, gradient)
        del slots, gradients, gradient  # free each array as early as possible
    for leaf, gradient in leaves.values():
        if leaf._hooks:
            gradient = _through(leaf._hooks, gradient, leaf.device, how)
        found.append((leaf, gradient))
    return found


def _given(slots: list[Any]) -> list[tuple[int, Any]]:
    return [(index, gradient) for index, gradient in enumerate(slots) if gradient is not None]


def _through(hooks: Hooks, gradient: Any, device: Device, how: Walk) -> Any:
    for hook in tuple(hooks.values()):  # a hook may remove itself
        gradient = how.call(hook, gradient, device)
    return gradient


def whole(gradient: Array) -> Array:
    """An array even where NumPy returned a scalar, which cannot be changed in place."""
    return np.asarray(gradient) if isinstance(gradient, np.generic) else gradient


class HookHandle:
    """Removes a hook: `handle.remove()`, as in PyTorch, or `handle()`."""

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks, self._key = hooks, next(_numbers)
        hooks[self._key] = hook

    def remove(self) -> None:
        self._hooks.pop(self._key, None)

    __call__ = remove


def roots_of(tensors: Any, gradients: Any, create_graph: bool) -> list[tuple[Any, Array]]:
    """The roots of a walk from `tensors`. gradients: one per tensor; None means 1 for a scalar.

    Raises RuntimeError for a tensor that no recorded operator produced, ValueError for a wrong
    shape.
    """
    many = (tensors,) if isinstance(tensors, Taped) else tuple(tensors)
    given = gradients if isinstance(gradients, (list, tuple)) else (gradients,) * len(many)
    if len(given) != len(many):
        raise ValueError(f"backward: {len(many)} tensors but {len(given)} gradients")
    roots = []
    for tensor, gradient in zip(many, given, strict=True):
        edge = tensor._edge()
        if edge is None:
            raise RuntimeError(
                "backward: the tensor does not require gradients and no recorded operator produced "
                "it; set requires_grad=True on its inputs and compute it outside no_grad()"
            )
        if create_graph:
            name = edge[0].name if isinstance(edge, tuple) else "a leaf"
            raise RuntimeError(
                "backward: create_graph=True asks for gradients of gradients, which "
                f"{name} does not have; gpudl differentiates once"
            )
        roots.append((edge, _root_gradient(tensor, gradient)))
    return roots


def _root_gradient(tensor: Taped, gradient: Any) -> Array:
    shape = tuple(tensor.array.shape)
    if gradient is None:
        if tensor.array.size != 1:
            raise RuntimeError(
                f"backward: the tensor has shape {shape}; only a scalar has an "
                "implicit gradient, so pass gradient= or reduce it first, as in loss.mean()"
            )
        return tensor.device.xp.ones(shape, tensor.array.dtype)
    array = gradient.array if isinstance(gradient, Taped) else gradient
    if not hasattr(array, "shape"):
        raise TypeError(
            f"backward: gradient must be a Tensor or an array, got {type(gradient).__name__}; "
            "for a number write gpudl.full(tensor.shape, number)"
        )
    if tuple(array.shape) != shape:
        raise ValueError(
            f"backward: the gradient has shape {tuple(array.shape)}, the tensor {shape}"
        )
    return array
