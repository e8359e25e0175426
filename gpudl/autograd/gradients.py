"""Gradients returned instead of accumulated, and functions with a custom gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl.autograd import tape
from gpudl.autograd.tape import Node, is_grad_enabled, no_grad, whole
from gpudl.autograd.tensor import Tensor, check_gradient
from gpudl.core.op import Array, is_floating
from gpudl.devices.find import Device


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
    wanted = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for number, tensor in enumerate(wanted):
        if not tensor.requires_grad:
            raise RuntimeError(f"autograd.grad: input {number} does not require gradients")
    roots = tape.roots_of(outputs, grad_outputs, create_graph)
    found = {id(t): g for t, g in tape.walk(roots, bool(retain_graph), wanted)}
    results: list[Tensor | None] = []
    for number, tensor in enumerate(wanted):
        array = found.get(id(tensor))
        if array is None and not allow_unused:
            raise RuntimeError(
                f"autograd.grad: input {number} was not used to compute the outputs; "
                "pass allow_unused=True to get None for it"
            )
        found_one = None if array is None else Tensor.from_array(whole(array), device=tensor.device)
        results.append(found_one)
    return tuple(results)


class Context:
    """Passes values from forward to backward of a custom Function."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Tensor, ...] = ()
        self._versions: tuple[int, ...] = ()

    def save_for_backward(self, *tensors: Tensor) -> None:
        self._saved = tensors
        self._versions = tuple(t._version for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        for tensor, then in zip(self._saved, self._versions, strict=True):
            if tensor._version != then:
                raise RuntimeError(
                    "a tensor saved for backward has since been changed in place; "
                    "save a clone of it"
                )
        return self._saved


class _FunctionNode(Node):
    __slots__ = ("context", "function", "shapes")

    def __init__(
        self,
        function: type[Function],
        context: Context,
        edges: tuple[Any, ...],
        shapes: tuple[tuple[int, ...] | None, ...],
        n: int,
        device: Device,
    ) -> None:
        super().__init__(function.__name__, edges, n, device)
        self.function = function
        self.context: Context | None = context
        self.shapes = shapes  # of the arguments of forward

    def run(self, dys: tuple[Array | None, ...]) -> Sequence[Array | None]:
        if self.context is None:
            raise RuntimeError(
                f"{self.name}: an earlier backward pass freed the saved tensors; "
                "use retain_graph=True"
            )
        wrapped = [None if dy is None else Tensor.from_array(whole(dy), self.device) for dy in dys]
        with no_grad():
            result = self.function.backward(self.context, *wrapped)
        gradients = result if isinstance(result, tuple) else (result,)
        if len(gradients) != len(self.edges):
            raise RuntimeError(
                f"{self.name}.backward returned {len(gradients)} gradients for "
                f"{len(self.edges)} arguments of forward"
            )
        for number, (g, edge, shape) in enumerate(
            zip(gradients, self.edges, self.shapes, strict=True)
        ):
            if g is not None and edge is not None and shape is not None:
                check_gradient(f"{self.name}.backward: result {number}", g, shape)
        return [g.array if isinstance(g, Tensor) else None for g in gradients]

    def release(self) -> None:
        self.context = None


class Function:
    """A custom differentiable function, as in PyTorch: subclass it with static methods
    `forward(ctx, *args)` and `backward(ctx, *grads)` and call `apply`."""

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Any:
        raise TypeError("a Function must define forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Context, *grads: Any) -> Any:
        raise TypeError("a Function must define backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        edges = tuple(a._edge() if isinstance(a, Tensor) else None for a in args)
        context = Context(tuple(edge is not None for edge in edges))
        with no_grad():
            result = cls.forward(context, *args)
        outputs = result if isinstance(result, tuple) else (result,)
        if is_grad_enabled() and any(edge is not None for edge in edges):
            shapes = tuple(tuple(a.shape) if isinstance(a, Tensor) else None for a in args)
            node = _FunctionNode(cls, context, edges, shapes, len(outputs), outputs[0].device)
            # An input returned unchanged still needs its own place on the tape.
            outputs = tuple(
                Tensor.from_array(o.array, device=o.device, node=node, index=i, version=o._cell)
                if is_floating(np.dtype(o.dtype))
                else o
                for i, o in enumerate(outputs)
            )
        return outputs if isinstance(result, tuple) else outputs[0]
