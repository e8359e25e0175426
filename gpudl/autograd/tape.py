"""The tape: which operator made which array, and the walk back along it.

Nodes are numbered as they are made, so a node's consumers have larger numbers than itself. Backward
takes nodes by falling number and thus sees every gradient of an output before it needs their sum.
"""

from __future__ import annotations

import itertools
from _thread import _local  # threading.local; the module itself takes a millisecond to import
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from gpudl.core.op import Array, Op
from gpudl.devices.find import Device, MetaArray

if TYPE_CHECKING:
    from gpudl.autograd.tensor import Tensor

_numbers = itertools.count()
F = TypeVar("F", bound=Callable[..., Any])
Version = list[int]  # one counter, shared by all tensors that share memory


class _Mode(_local):
    recording = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    return _mode.recording


class set_grad_enabled:  # noqa: N801 (PyTorch's name)
    """Record on the tape or not, inside a with statement or a decorated function."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_mode.recording)
        _mode.recording = self.mode

    def __exit__(self, *_: object) -> None:
        _mode.recording = self._before.pop()

    def __call__(self, function: F) -> F:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(self.mode):
                return function(*args, **kwargs)

        return cast(F, wrapped)


def no_grad() -> set_grad_enabled:
    """Nothing inside is recorded on the tape. A context manager, and a decorator: `@no_grad()`."""
    return set_grad_enabled(False)


def enable_grad() -> set_grad_enabled:
    """Everything inside is recorded again."""
    return set_grad_enabled(True)


class Node:
    """One operator that ran: where its inputs came from and how to turn output gradients into input
    gradients. edges: for each input a (Node, output number), a leaf Tensor, or None."""

    __slots__ = ("__weakref__", "device", "edges", "hooks", "name", "number", "outputs", "retained")

    def __init__(self, name: str, edges: tuple[Any, ...], outputs: int, device: Device) -> None:
        self.name = name
        self.edges = edges
        self.outputs = outputs
        self.device = device
        self.number = next(_numbers)
        self.hooks: dict[int, list[Callable[[Any], Any]]] | None = None
        self.retained: dict[int, Tensor] | None = None

    def __lt__(self, other: Node) -> bool:  # for the heap: newest first
        return self.number > other.number

    @property
    def needs(self) -> tuple[bool, ...]:
        return tuple([edge is not None for edge in self.edges])

    def forget_retained(self, index: int) -> bool:
        """No longer keep the gradient of an output; was it kept?"""
        return self.retained is not None and self.retained.pop(index, None) is not None

    def run(self, dys: tuple[Array | None, ...]) -> Sequence[Array | None]:
        raise TypeError(f"{self.name} has no gradient")

    def release(self) -> None:
        """Forget the saved arrays."""

    def keep_old(self, array: Array, version: Version) -> None:
        """The array is about to be overwritten with the output: save a copy if it is saved."""


class OpNode(Node):
    """A node that runs `op.backward` on its device."""

    __slots__ = ("op", "saved", "versions")

    def __init__(
        self,
        op: Op,
        device: Device,
        edges: tuple[Any, ...],
        saved: Any,
        versions: Sequence[tuple[str, Version, int]] = (),
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

    def run(self, dys: tuple[Array | None, ...]) -> Sequence[Array | None]:
        if self.saved is None:
            raise RuntimeError(
                f"{self.name}: backward went through here already and freed the saved arrays; "
                "call backward(retain_graph=True) the first time"
            )
        for name, version, then in self.versions:
            if version[0] != then:
                raise RuntimeError(
                    f"{self.name}: {name} is needed for the gradient but was changed in place "
                    f"since (version {version[0]}, was {then}); use an operation that makes a new "
                    "tensor"
                )
        return self.device.backward(self.op, dys, self.saved, self.needs)

    def release(self) -> None:
        self.saved = None
        self.versions = ()

    def keep_old(self, array: Array, version: Version) -> None:
        names = [n for n in self.op.saves if getattr(self.saved, n) is array]
        if names and not isinstance(array, MetaArray):
            old = array.copy()
            self.saved = self.saved._replace(**dict.fromkeys(names, old))
            self.versions = [v for v in self.versions if v[0] not in names]


def run_backward(
    roots: Sequence[tuple[Tensor, Array]],
    retain_graph: bool,
    only: Iterable[Tensor] | None = None,
) -> dict[int, Array]:
    """Walk back from `roots` (tensor, its gradient). Leaves accumulate into `.grad`; with `only`,
    nothing is accumulated and the gradients of those tensors are returned by their id."""
    import heapq  # here: not all that import gpudl go backward

    pending: dict[Node, list[Array | None]] = {}
    heap: list[Node] = []
    leaf_grads: dict[int, tuple[Tensor, Array]] = {}
    found: dict[int, Array] = {}
    watched = _watched(only or ())

    def send(edge: Any, gradient: Array) -> None:
        if isinstance(edge, tuple):
            node, index = edge
            slots = pending.get(node)
            if slots is None:
                slots = pending[node] = [None] * node.outputs
                heapq.heappush(heap, node)
            old = slots[index]
            slots[index] = gradient if old is None else plus(old, gradient)
        else:
            known = leaf_grads.get(id(edge))
            leaf_grads[id(edge)] = (edge, gradient if known is None else plus(known[1], gradient))

    for tensor, gradient in roots:
        edge = tensor._edge()
        if edge is not None:
            send(edge, gradient)
    while heap:
        node = heapq.heappop(heap)
        slots = pending.pop(node)
        if watched or node.hooks or node.retained:
            _deliver(node, slots, watched, found, accumulate=only is None)
        gradients = node.run(tuple(slots))
        if not retain_graph:
            node.release()
        for edge, gradient in zip(node.edges, gradients, strict=True):
            if edge is not None and gradient is not None:
                send(edge, gradient)
        del slots, gradients, gradient  # not one array longer than needed
    for leaf, gradient in leaf_grads.values():
        gradient = _through_hooks(leaf._hooks, gradient, leaf.device)
        if only is None:
            leaf._accumulate(gradient)
        else:
            found[id(leaf)] = gradient
    return found


@np.errstate(all="ignore")
def plus(a: Array, b: Array) -> Array:
    return a if isinstance(a, MetaArray) else a + b


def _watched(tensors: Iterable[Tensor]) -> dict[tuple[Node, int], int]:
    """Non-leaf tensors whose gradients are asked for, by the node and output that made them."""
    return {t._edge(): id(t) for t in tensors if t._node is not None}


def whole(gradient: Array) -> Array:
    """NumPy turns sums of arrays without axes into scalars, which cannot be changed in place."""
    return np.asarray(gradient) if isinstance(gradient, np.generic) else gradient


def _deliver(
    node: Node,
    slots: list[Array | None],
    watched: dict[tuple[Node, int], int],
    found: dict[int, Array],
    accumulate: bool,
) -> None:
    """Run the hooks on the gradients of the node's outputs; keep those that were asked for."""
    for index, gradient in enumerate(slots):
        if gradient is None:
            continue
        if node.hooks is not None and index in node.hooks:
            gradient = slots[index] = _through_hooks(node.hooks[index], gradient, node.device)
        if accumulate and node.retained is not None and index in node.retained:
            node.retained[index]._accumulate(gradient)
        key = watched.get((node, index))
        if key is not None:
            found[key] = gradient


def _through_hooks(
    hooks: list[Callable[[Any], Any]] | None, gradient: Array, device: Device
) -> Array:
    if not hooks:
        return gradient
    from gpudl.autograd.tensor import Tensor

    for hook in hooks:
        result = hook(Tensor.from_array(whole(gradient), device=device))
        if result is not None:
            check_gradient("register_hook: the hook's result", result, gradient.shape)
            gradient = result.array
    return gradient


def check_gradient(what: str, gradient: Any, shape: tuple[int, ...]) -> None:
    from gpudl.autograd.tensor import Tensor

    if not isinstance(gradient, Tensor):
        raise TypeError(f"{what} must be a Tensor or None, got {type(gradient).__name__}")
    if tuple(gradient.shape) != tuple(shape):
        raise ValueError(
            f"{what} has shape {tuple(gradient.shape)}; the gradient must have {tuple(shape)}"
        )


class HookHandle:
    """Takes a hook away again: `handle.remove()`, as in PyTorch, or `handle()`."""

    def __init__(self, remove: Callable[[], None]) -> None:
        self._remove: Callable[[], None] | None = remove

    def remove(self) -> None:
        if self._remove is not None:
            self._remove()
            self._remove = None

    __call__ = remove


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Accumulate gradients of `tensors` into `.grad` of all leaves that require them."""
    roots = _roots(tensors, grad_tensors, create_graph)
    run_backward(roots, bool(retain_graph))


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of `outputs` with respect to `inputs`, returned; no `.grad` changes.

    Raises RuntimeError if an input does not require gradients, or is not part of the graph and
    `allow_unused` is false.
    """
    from gpudl.autograd.tensor import Tensor

    wanted = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for number, tensor in enumerate(wanted):
        if not tensor.requires_grad:
            raise RuntimeError(f"autograd.grad: input {number} does not require gradients")
    found = run_backward(_roots(outputs, grad_outputs, create_graph), bool(retain_graph), wanted)
    results: list[Tensor | None] = []
    for number, tensor in enumerate(wanted):
        array = found.get(id(tensor))
        if array is None and not allow_unused:
            raise RuntimeError(
                f"autograd.grad: input {number} was not used to make the outputs; "
                "pass allow_unused=True to get None for it"
            )
        found_one = None if array is None else Tensor.from_array(whole(array), device=tensor.device)
        results.append(found_one)
    return tuple(results)


def _roots(tensors: Any, gradients: Any, create_graph: bool) -> list[tuple[Tensor, Array]]:
    from gpudl.autograd.tensor import Tensor

    many = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
    given = gradients if isinstance(gradients, (list, tuple)) else (gradients,) * len(many)
    if len(given) != len(many):
        raise ValueError(f"backward: {len(many)} tensors but {len(given)} gradients")
    roots = []
    for tensor, gradient in zip(many, given, strict=True):
        edge = tensor._edge()
        if edge is None:
            raise RuntimeError(
                "backward: the tensor does not require gradients and nothing recorded made it; "
                "set requires_grad=True on what it is computed from, outside no_grad()"
            )
        if create_graph:
            name = edge[0].name if isinstance(edge, tuple) else "a leaf"
            raise RuntimeError(
                "backward: create_graph=True asks for gradients of gradients, which "
                f"{name} does not have; gpudl differentiates once"
            )
        roots.append((tensor, _root_gradient(tensor, gradient)))
    return roots


def _root_gradient(tensor: Tensor, gradient: Any) -> Array:
    if gradient is None:
        if tensor.numel() != 1:
            raise RuntimeError(
                f"backward: the tensor has shape {tuple(tensor.shape)}; only a scalar has an "
                "implicit gradient, so pass gradient= or reduce it first, as in loss.mean()"
            )
        return tensor.device.xp.ones(tensor.shape, tensor.dtype)
    array = gradient.array if hasattr(gradient, "requires_grad") else gradient
    if not hasattr(array, "shape"):
        raise TypeError(
            f"backward: gradient must be a Tensor or an array, got {type(gradient).__name__}; "
            "for a number write gpudl.full(tensor.shape, number)"
        )
    if tuple(array.shape) != tuple(tensor.shape):
        raise ValueError(
            f"backward: the gradient has shape {tuple(array.shape)}, "
            f"the tensor {tuple(tensor.shape)}"
        )
    return array
