"""Fully connected layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tape import is_grad_enabled
from gpudl.autograd.tensor import Tensor
from gpudl.core.dtypes import dtype_of
from gpudl.core.op import Array, Case, Spec, require, require_float
from gpudl.core.public import public
from gpudl.devices.find import NativeDevice
from gpudl.ops.matrix.matmul import Product, draw, draw_bfloat16, draw_float16, wide

ACTIVATIONS = ("none", "relu", "sigmoid", "tanh")  # numbered as in csrc/prim/gemm/gemm_epilogue.h


class LinearOp(Product):
    """y = activation(x · weightᵀ + bias).

    x: (…, inputs), weight: (outputs, inputs), bias: (outputs). activation: one of ACTIVATIONS,
    applied before the product is stored. bits: mask holds one bit per element, set where ReLU
    passed it, with rows padded to whole bytes; backward then reads mask instead of y.
    """

    inputs = ("x", "weight", "bias?")
    outputs = ("y", "mask")
    internal = ("mask",)
    saves = ("x", "weight", "y", "mask")
    activation: str = "none"
    bits: bool = False

    def parameters(self) -> dict[str, Any]:
        return {"activation": ACTIVATIONS.index(self.activation)}

    def infer(self, x: Spec, weight: Spec, bias: Spec | None) -> tuple[Spec, ...]:
        require_float(self, x=x, weight=weight, bias=bias)
        known = self.activation in ACTIVATIONS
        require(known, self, "activation", f"is {self.activation!r}; use one of {ACTIVATIONS}")
        require(
            len(weight.shape) == 2, self, "weight", f"is {weight}; it must be (outputs, inputs)"
        )
        outputs, inputs = weight.shape
        require(
            len(x.shape) >= 1 and x.shape[-1] == inputs,
            self,
            "x",
            f"is {x}; its last axis must have {inputs} elements to fit weight {weight}",
        )
        if bias is not None:
            fits = bias.shape == (outputs,)
            require(fits, self, "bias", f"is {bias}; it must have shape [{outputs}]")
        rows = self.extents(x, weight, bias)[1]
        mask = (rows, -(-outputs // 8)) if self.bits else (0, 0)
        return Spec((*x.shape[:-1], outputs), x.dtype), Spec(mask, np.dtype(np.uint8))

    def check_fields(self) -> None:
        fits = not self.bits or self.activation == "relu"
        require(fits, self, "bits", f"needs activation 'relu', not {self.activation!r}")

    def extents(self, x: Spec, weight: Spec, bias: Spec | None) -> tuple[int, int, int, int]:
        rows = 1
        for extent in x.shape[:-1]:
            rows *= extent
        return 1, rows, *weight.shape  # type: ignore[return-value]

    def forward(self, xp: Any, x: Any, weight: Any, bias: Any) -> tuple[Any, ...]:
        y = xp.matmul(wide(x), wide(weight).T)
        if bias is not None:
            y += bias
        if self.activation == "relu":
            xp.maximum(y, 0, out=y)
        elif self.activation == "sigmoid":
            y = 1 / (1 + xp.exp(-y))
        elif self.activation == "tanh":
            xp.tanh(y, out=y)
        y = y.astype(x.dtype, copy=False)
        return y, self._mask(xp, y)

    def _mask(self, xp: Any, y: Any) -> Array:
        """One bit per element, set where ReLU passed it (NaN too); column 0 is the lowest bit."""
        if not self.bits:
            return xp.empty((0, 0), xp.uint8)
        outputs, rows = y.shape[-1], y.size // max(1, y.shape[-1])
        count = -(-outputs // 8)
        eights = xp.zeros((rows, 8 * count), xp.uint8)
        eights[:, :outputs] = ~(y.reshape(rows, outputs) <= 0)
        weights = xp.left_shift(1, xp.arange(8)).astype(xp.uint8)
        return (eights.reshape(rows, count, 8) * weights).sum(-1).astype(xp.uint8)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        weight = saved.weight
        dtype = weight.dtype
        dz = self._before_activation(xp, dys[0], saved.y, saved.mask)
        rows = wide(dz).reshape(self.extents(*saved.specs)[1], len(weight))
        dx = dweight = dbias = None
        if needs[0]:
            dx = xp.matmul(wide(dz), wide(weight)).astype(dtype, copy=False)
        if needs[1]:
            x = wide(saved.x).reshape(len(rows), weight.shape[1])
            dweight = xp.matmul(rows.T, x).astype(dtype, copy=False)
        if needs[2]:
            dbias = rows.sum(axis=0).astype(dtype, copy=False)
        return dx, dweight, dbias

    def _before_activation(self, xp: Any, dy: Any, y: Any, mask: Any) -> Array:
        """The gradient of the activation's argument."""
        if mask is not None:
            bits = mask[:, :, None] >> xp.arange(8, dtype=xp.uint8) & 1
            passed = bits.reshape(len(mask), 8 * mask.shape[1])[:, : dy.shape[-1]].reshape(dy.shape)
            return xp.where(passed, dy, 0).astype(dy.dtype, copy=False)
        if self.activation == "relu":
            return xp.where(y <= 0, 0, dy).astype(dy.dtype, copy=False)
        if self.activation == "sigmoid":
            return dy * y * (1 - y)
        return dy * (1 - y * y) if self.activation == "tanh" else dy

    def save(self, inputs: Any, outputs: Any, specs: Any, needs: Any = None) -> Any:
        y = None if self.activation == "none" or self.bits else outputs[0]
        return self.saved_type(inputs[0], inputs[1], y, outputs[1] if self.bits else None, specs)

    def twin(self, torch: Any, x: Any, weight: Any, bias: Any) -> Any:
        y = torch.nn.functional.linear(x, weight, bias)
        return y if self.activation == "none" else getattr(torch, self.activation)(y)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        x = np.array([[1, 2, 3]], np.float32)
        w = np.array([[1, 0, -1], [2, 1, 1]], np.float32)
        b = np.array([1, -10], np.float32)
        plain, relu = cls.of("none"), cls.of("relu")
        y = np.array([[-1, -3]], np.float32)  # by hand: 1 - 3 + 1, 2 + 2 + 3 - 10
        yield Case("by hand", plain, lambda rng: (x, w, b), golden=(y,))
        for rows, outputs, inputs in [(64, 120, 50), (130, 10, 84), (1, 7, 3), (5, 1, 1)]:
            make = draw((rows, inputs), (outputs, inputs), (outputs,))
            yield Case(f"{rows}x{outputs}x{inputs}", plain, make)
        for activation in ACTIVATIONS[1:]:
            yield Case(activation, cls.of(activation), draw((9, 21), (33, 21), (33,)))
        yield Case("relu, no bias", relu, without_bias((9, 21), (33, 21)))
        yield from _bit_cases()
        yield Case("no bias", plain, without_bias((70, 21), (33, 21)))
        yield Case("three axes", plain, draw((2, 5, 21), (33, 21), (33,)))
        yield Case("one axis", plain, draw((21,), (33, 21), (33,)))
        yield Case("no rows", relu, draw((0, 21), (33, 21), (33,)))
        yield Case("no inputs", plain, draw((4, 0), (33, 0), (33,)))
        yield Case("no outputs", plain, draw((4, 21), (0, 21), (0,)))
        yield Case("rows for TMA", relu, draw((70, 36), (68, 36), (68,)))
        yield Case("long sums in pieces", relu, draw((520, 6), (10, 6), (10,)))
        yield from _bfloat16_cases()
        fit = r"linear: x is float32\[4, 20\]; .* 21 elements to fit weight float32\[33, 21\]"
        yield Case("inputs differ", plain, without_bias((4, 20), (33, 21)), error=fit)
        wrong_bias = draw((4, 21), (33, 21), (32,))
        yield Case("bias", plain, wrong_bias, error=r"linear: bias is float32\[32\]; it must .*33")
        yield Case("weight", plain, without_bias((4, 21), (21,)), error="linear: weight .*outputs")
        bits = cls.of("relu", True)
        yield Case("no rows, bits", bits, draw((0, 21), (33, 21), (33,)))
        unknown = cls.of("softplus")
        yield Case(
            "activation", unknown, draw((4, 21), (3, 21), (3,)), error="activation is 'softplus'"
        )


def _halves(rows: int, outputs: int, inputs: int, dtype: str = "float32", bias: bool = True) -> Any:
    """Inputs whose sums lie half-way between integers and are exact in every algorithm, so that
    neither rounding nor a finite difference changes which bits are set."""

    def make(rng: np.random.Generator) -> tuple[Array | None, ...]:
        shapes = (rows, inputs), (outputs, inputs), (outputs,)
        x, weight, shift = (rng.integers(-2, 3, s).astype(dtype_of(dtype)) for s in shapes)
        x[:, 0], weight[:, 0] = 0.5, 1
        return x, weight, shift if bias else None

    return make


def _bit_cases() -> Iterator[Case]:
    """Whole and partial bytes, every tile shape, long sums in pieces."""
    op = LinearOp.of("relu", True)
    sizes = [(9, 33, 21), (70, 68, 36), (130, 136, 24), (1, 7, 3), (5, 8, 777), (1100, 20, 4)]
    for size in sizes:
        yield Case("bits " + "x".join(map(str, size)), op, _halves(*size))
    yield Case("bits, no bias", op, _halves(6, 12, 8, bias=False))
    yield Case("bits, float16", op, _halves(9, 136, 24, "float16"))
    yield Case("bits, bfloat16", op, _halves(70, 40, 24, "bfloat16"))


def _bfloat16_cases() -> Iterator[Case]:
    for activation in ACTIVATIONS:
        make = draw_bfloat16((9, 24), (40, 24), (40,))
        yield Case(f"bfloat16 {activation}", LinearOp.of(activation), make)
    for inputs, outputs in [(21, 33), (24, 40)]:  # the second one fits TMA
        make = draw_float16((9, inputs), (outputs, inputs), (outputs,))
        yield Case(f"float16 relu {outputs}x{inputs}", LinearOp.of("relu"), make)
    make = draw_bfloat16((130, 21), (33, 21), (33,))
    yield Case("bfloat16 130x33x21", LinearOp.of("none"), make)
    make = draw_bfloat16((264, 72), (136, 72), (136,))
    yield Case("bfloat16 264x136x72", LinearOp.of("none"), make)


def without_bias(*shapes: tuple[int, ...]) -> Any:
    make = draw(*shapes)
    return lambda rng: (*make(rng), None)


@public("functional")
def linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str = "none"
) -> Tensor:
    """activation(input · weightᵀ + bias).

    input: (…, inputs), weight: (outputs, inputs), bias: (outputs) -> (…, outputs). activation:
    "none", "relu", "sigmoid" or "tanh", fused into the product.
    """
    bits = (
        activation == "relu"
        and isinstance(input.device, NativeDevice)
        and is_grad_enabled()
        and any(t is not None and t.requires_grad for t in (input, weight, bias))
    )
    return apply(LinearOp.of(activation, bits), input, weight, bias)[0]  # type: ignore[no-any-return]
