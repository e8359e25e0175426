"""Views and in-place changes on the tape.

A view remembers its source and the operator that created it. An in-place change gives the tensor a
new place on the tape; if it is a view, its sources get new places too: "the source with this part
replaced". Other views of the same memory see by their stamp that they are out of date and are
recorded again from their source when next used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gpudl.autograd import tape
from gpudl.autograd.tape import Taped
from gpudl.core import dtypes
from gpudl.core.op import Array, Case, Op, Spec
from gpudl.devices.find import MetaArray


class View(NamedTuple):
    """How a view was created. recorded: whether gradients were being recorded."""

    source: Taped
    op: Op
    output: int  # which one of op
    root: Taped  # the end of the chain of sources, which is not a view
    recorded: bool

    def refresh(self, tensor: Taped) -> None:
        """Record `tensor`, which is this view, again from the current value of its source."""
        if tensor._stamp == self.root._stamp:
            return
        edge = self.source._edge()
        if not tensor._requires_grad:
            saved = self.op.saved_type(*(None for _ in self.op.saves), (_spec(self.source),))
            tensor._node = edge and tape.OpNode(self.op, tensor.device, (edge,), saved)
            tensor._index = self.output
        tensor._stamp = self.root._stamp


class ViewUpdateOp(Op):
    """y = x with the part that `view_op` selects replaced by `part`. An in-place change only
    records it: the shared memory already holds y."""

    inputs = ("x", "part")

    view_op: Op

    def infer(self, x: Spec, part: Spec) -> tuple[Spec, ...]:
        return (x,)

    def forward(self, xp: Any, x: Any, part: Any) -> tuple[Any, ...]:
        y = xp.array(x, order="C")  # so that the view operator returns a view
        self.view_op.forward(xp, y)[0][...] = part
        return (y,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dx = xp.array(dys[0], order="C")
        shown = self.view_op.forward(xp, dx)[0]
        dpart = shown.copy() if needs[1] else None
        shown[...] = 0
        return dx, dpart

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def make(rng: np.random.Generator) -> tuple[Any, ...]:
            return rng.standard_normal((3, 4)), rng.standard_normal((4, 3))

        yield Case("transpose", cls(_Transpose()), make)
        x, part = np.zeros((2, 2), np.float32), np.arange(4, dtype=np.float32).reshape(2, 2)
        yield Case("numbers", cls(_Transpose()), lambda rng: (x, part), golden=(part.T,))


class _Transpose(Op):
    """A view operator for the test cases of ViewUpdateOp."""

    view = True

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        return (x.T,)


def share_memory(a: Array, b: Array) -> bool:
    """Whether one is a view of the other, or both are views of a third array."""
    return owner(a) is owner(b)


def owner(array: Array) -> Array:
    base = getattr(array, "base", None)
    while base is not None and hasattr(base, "base"):
        array, base = base, base.base
    return array


def check_change(tensor: Taped, result: Taped) -> None:
    """Refuse an in-place change that would get a wrong gradient or does not fit."""
    if tape.is_grad_enabled():
        tensor._edge()  # records an outdated view again
        _check_recorded(tensor, result)
        if result._node is not None:
            result._node.keep_old(tensor.array, tensor._cell)
    old, new = tensor.array, result.array
    if tuple(new.shape) != tuple(old.shape):
        raise ValueError(
            f"in-place update: the result has shape {list(new.shape)}, which does not fit "
            f"{list(old.shape)}"
        )
    if dtypes.kind_of(new.dtype) > dtypes.kind_of(old.dtype):
        raise TypeError(
            f"in-place update: a {new.dtype.name} result does not fit into "
            f"{old.dtype.name}; use an operation that returns a new tensor"
        )


def change(tensor: Taped, result: Taped) -> None:
    """Give `tensor` the value of `result` and its place on the tape. check_change must have
    accepted them, and their dtypes must be equal."""
    if not isinstance(tensor.array, MetaArray):
        if not is_writable(tensor.array):
            raise RuntimeError(
                "in-place update: the memory is read-only, or one element stands for several "
                "(expand); clone() the tensor first"
            )
        tensor.array[...] = result.array
    tensor._cell[0] += 1
    if tape.is_grad_enabled():
        _take_place(tensor, result)


def _check_recorded(tensor: Taped, result: Taped) -> None:
    """Refuse an in-place change that would get a wrong gradient."""
    root = tensor if tensor._view is None else tensor._view.root
    for changed in (tensor, root):
        if changed._node is None and changed._requires_grad:
            what = "a leaf" if changed is tensor else "a view of a leaf"
            raise RuntimeError(
                f"in-place update of {what} that requires gradients; "
                "do it under no_grad(), or on a clone"
            )
    view = tensor._view
    if view is None or (result._node is None and root._node is None):
        return
    while view is not None:
        if not view.recorded:
            raise RuntimeError(
                "in-place update, with gradients recorded, of a view created under no_grad(); "
                "create the view outside no_grad(), or clone it"
            )
        if len(view.op.outputs) > 1:
            raise RuntimeError(
                f"in-place update of an output of {view.op.name}, which returns several views of "
                "one tensor; slice the tensor instead, or clone the output"
            )
        view = view.source._view


def _take_place(tensor: Taped, result: Taped) -> None:
    """Move `tensor`, whose memory now holds the value of `result`, to the place of `result` on the
    tape; if it is a view, give its sources new places."""
    retained = tensor._node is not None and tensor._node.forget_retained(tensor._index)
    tensor._node, tensor._index = result._node, result._index
    if retained and tensor._node is not None:
        tensor._node.retain(tensor._index, tensor)
    part, view = tensor, tensor._view
    if view is None:
        tensor._stamp += 1
        return
    while view is not None:
        source = view.source
        if source._place() is not None or part._place() is not None:
            edges = (source._place(), part._place())
            op = ViewUpdateOp.of(view.op)
            specs = (_spec(source), _spec(part))
            source._node = tape.OpNode(op, source.device, edges, op.saved_type(specs))
            source._index = 0
        part, view = source, source._view
    part._stamp += 1
    chain: Taped | None = tensor
    while chain is not None:
        chain._stamp = part._stamp
        chain = chain._view.source if chain._view is not None else None


def _spec(tensor: Taped) -> Spec:
    return Spec(tuple(tensor.array.shape), tensor.array.dtype)


def is_writable(array: Array) -> bool:
    flags = getattr(array, "flags", None)
    return not isinstance(array, np.ndarray) or bool(flags is None or flags.writeable)
