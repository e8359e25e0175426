"""Summarises a model: a table of modules with output shapes, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.core.dtypes import dtype_of
from gpudl.devices.find import MetaArray, meta
from gpudl.nn.module import Module

__all__ = ["Summary", "summary"]


@dataclass
class Row:
    name: str
    kind: str
    depth: int
    output: tuple[int, ...] = ()
    parameters: int = 0
    multiply_adds: int = 0


@dataclass
class Summary:
    """Result of `summary`: str() gives the table, the fields hold the numbers."""

    rows: list[Row] = field(default_factory=list)
    parameters: int = 0
    trainable: int = 0
    multiply_adds: int = 0

    def __str__(self) -> str:
        head = ("module", "output shape", "parameters", "multiply-adds")
        body = [
            ("  " * r.depth + f"{r.name} ({r.kind})", _shape(r.output), _number(r.parameters),
             _number(r.multiply_adds))
            for r in self.rows
        ]  # fmt: skip
        widths = [max(len(row[i]) for row in (head, *body)) for i in range(4)]
        lines = [_line(row, widths) for row in (head, *body)]
        rule = "-" * len(lines[0])
        total = (
            f"{self.parameters:,} parameters ({self.trainable:,} trainable), "
            f"{self.multiply_adds:,} multiply-adds"
        )
        return "\n".join([lines[0], rule, *lines[1:], rule, total])

    def __repr__(self) -> str:
        return str(self)


def summary(model: Module, input_size: tuple[int, ...], dtype: Any = np.float32) -> Summary:
    """Summarise `model`, run on shapes alone (the meta device: no memory, no arithmetic).

    input_size: the whole shape, with the batch, such as (1, 3, 224, 224).
    """
    result = Summary()
    with _on_meta(model), no_grad():
        hooks = []
        names = {id(module): name for name, module in model.named_modules()}
        stack: list[tuple[Row, int]] = []

        def enter(module: Module, inputs: Any) -> None:
            name = names[id(module)]
            row = Row(name.rpartition(".")[2] or "model", type(module).__name__, len(stack))
            row.parameters = sum(p.numel() for p in module.parameters())
            result.rows.append(row)
            stack.append((row, meta.multiply_adds))

        def leave(module: Module, inputs: Any, output: Any) -> None:
            row, before = stack.pop()
            first = output[0] if isinstance(output, tuple) else output
            row.output = tuple(first.shape)
            row.multiply_adds = meta.multiply_adds - before

        for module in model.modules():
            hooks.append(module.register_forward_pre_hook(enter))
            hooks.append(module.register_forward_hook(leave))
        start = meta.multiply_adds
        try:
            model(Tensor.from_array(MetaArray(tuple(input_size), dtype_of(dtype)), device=meta))
        finally:
            for hook in hooks:
                hook.remove()
        result.multiply_adds = meta.multiply_adds - start
    result.parameters = sum(p.numel() for p in model.parameters())
    result.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return result


@contextmanager
def _on_meta(model: Module) -> Iterator[None]:
    """Move the model to the meta device in evaluation mode; restore both afterwards."""
    training = {id(m): m.training for m in model.modules()}
    tensors = [*model.parameters(), *model.buffers()]
    before = [(t.array, t.device) for t in tensors]
    for tensor in tensors:
        tensor.array = MetaArray(tuple(tensor.shape), tensor.dtype)
        tensor.device = meta
    model.eval()
    try:
        yield
    finally:
        for tensor, (data, device) in zip(tensors, before, strict=True):
            tensor.array, tensor.device = data, device
        for module in model.modules():
            object.__setattr__(module, "training", training[id(module)])


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _number(value: int) -> str:
    return f"{value:,}" if value else "-"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join([*left, *right])
