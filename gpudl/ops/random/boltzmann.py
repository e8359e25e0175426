"""Restricted Boltzmann machines: half-steps of Gibbs sampling, and the gradient of contrastive
divergence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import random
from gpudl.core.op import Case, Spec, require, require_float
from gpudl.core.public import public
from gpudl.core.random import Generator
from gpudl.ops.matrix.matmul import Product, draw
from gpudl.ops.random.fills import COUNTER, check_counter, counter_on, uniform_like


class GibbsHalfStepOp(Product):
    """With z = x · weightᵀ + bias: mean = sigmoid(z), sample = 1 where u < mean, else 0. A Gaussian
    layer has unit variance: mean = z, sample = z + noise.

    x: (N, inputs), weight: (outputs, inputs), or (inputs, outputs) with `transpose`; bias:
    (outputs). u and the noise come from `counter`: element i of the sample, in row-major order,
    uses number i. Hinton 2012, "A practical guide to training restricted Boltzmann machines".
    """

    inputs = ("x", "weight", "bias?", "counter")
    outputs = ("mean", "sample")
    backward = None  # type: ignore[assignment]
    kernels = ("simt", "mma_tf32x3", "mma_tf32")
    transpose: bool = False
    gaussian: bool = False

    def infer(self, x: Spec, weight: Spec, bias: Spec | None, counter: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x, weight=weight, bias=bias)
        check_counter(self, counter)
        require(len(x.shape) == 2, self, "x", f"is {x}; it must be (N, units)")
        require(
            len(weight.shape) == 2, self, "weight", f"is {weight}; it must be (hidden, visible)"
        )
        inputs, outputs = weight.shape if self.transpose else weight.shape[::-1]
        fits = x.shape[1] == inputs
        require(fits, self, "x", f"is {x}; it must have {inputs} columns to fit weight {weight}")
        if bias is not None:
            fits = bias.shape == (outputs,)
            require(fits, self, "bias", f"is {bias}; it must have shape [{outputs}]")
        result = Spec((x.shape[0], outputs), x.dtype)
        return result, result

    def extents(
        self, x: Spec, weight: Spec, bias: Spec | None, counter: Spec
    ) -> tuple[int, int, int, int]:
        outputs = weight.shape[1 if self.transpose else 0]
        return 1, x.shape[0], outputs, x.shape[1]

    def forward(self, xp: Any, x: Any, weight: Any, bias: Any, counter: Any) -> tuple[Any, ...]:
        z = xp.matmul(x, weight if self.transpose else weight.T)
        if bias is not None:
            z += bias
        if self.gaussian:
            noise = random.normal(counter, z.size).reshape(z.shape)
            return z, z + noise.astype(z.dtype, copy=False)
        mean = 1 / (1 + xp.exp(-z))
        return mean, (uniform_like(counter, mean) < mean).astype(mean.dtype)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        up, down = cls.of(False, False), cls.of(True, False)
        noisy = cls.of(True, True)
        # z = 0 or ±100; the uniforms of Random123's known answers are 0.399, 0.881, 0.736, 0.605.
        x, weight = np.array([[1, 0], [0, 0]], np.float32), np.array([[100, 0], [-100, 0]], "f")
        mean = np.array([[1, 0], [0.5, 0.5]], np.float32)
        sample = np.array([[1, 0], [0, 0]], np.float32)
        start = np.zeros(3, np.int64)
        yield Case("by hand", up, lambda rng: (x, weight, None, start), golden=(mean, sample))
        for n, inputs, outputs in [(5, 7, 9), (1, 3, 1), (33, 40, 66), (0, 4, 3)]:
            make = _with_counter(_layer(n, inputs, outputs))
            yield Case(f"{n}x{inputs}x{outputs}", up, make)
        for name, op in (("down", down), ("gaussian", noisy)):
            yield Case(name, op, _with_counter(_layer(6, 9, 13, transpose=True)))
        yield Case("long", up, _with_counter(_layer(4, 300, 6)))
        wrong = _with_counter(draw((4, 6), (6, 5), (6,)))
        yield Case("columns", up, wrong, error=r"gibbs_half_step: x is float32\[4, 6\]; it")
        short = _with_counter(_layer(4, 5, 6), np.zeros(2, np.int64))
        yield Case("counter", up, short, error="gibbs_half_step: counter is int64")


def _layer(n: int, inputs: int, outputs: int, transpose: bool = False) -> Any:
    weight = (inputs, outputs) if transpose else (outputs, inputs)
    return draw((n, inputs), weight, (outputs,))


def _with_counter(make: Any, counter: Any = COUNTER) -> Any:
    return lambda rng: (*make(rng), counter)


class ContrastiveDivergenceOp(Product):
    """Contrastive divergence's estimate of the gradient of the negative log-likelihood:
    dweight = hkᵀ·vk / Nk - h0ᵀ·v0 / N0, dvisible = mean(vk) - mean(v0), dhidden = mean(hk) -
    mean(h0).

    v0: (N0, visible) data, h0: (N0, hidden) their hidden means; vk, hk: the same for Nk Markov
    chains. Hinton 2002, equation 5.
    """

    inputs = ("v0", "h0", "vk", "hk")
    outputs = ("dweight", "dvisible", "dhidden")
    backward = None  # type: ignore[assignment]
    kernels = ("simt", "mma_tf32x3", "mma_tf32")

    def infer(self, v0: Spec, h0: Spec, vk: Spec, hk: Spec) -> tuple[Spec, ...]:
        require_float(self, v0=v0, h0=h0, vk=vk, hk=hk)
        for name, spec in zip(self.inputs, (v0, h0, vk, hk), strict=True):
            rank = len(spec.shape) == 2 and spec.shape[0] > 0
            require(rank, self, name, f"is {spec}; it must be (N, units) with N above 0")
        same = v0.shape[0] == h0.shape[0], vk.shape[0] == hk.shape[0]
        require(same[0], self, "h0", f"is {h0}; it must have as many rows as v0 {v0}")
        require(same[1], self, "hk", f"is {hk}; it must have as many rows as vk {vk}")
        require(
            v0.shape[1] == vk.shape[1],
            self,
            "vk",
            f"is {vk}; it must have as many columns as v0 {v0}",
        )
        require(
            h0.shape[1] == hk.shape[1],
            self,
            "hk",
            f"is {hk}; it must have as many columns as h0 {h0}",
        )
        visible, hidden = v0.shape[1], h0.shape[1]
        dtype = v0.dtype
        return Spec((hidden, visible), dtype), Spec((visible,), dtype), Spec((hidden,), dtype)

    def extents(self, v0: Spec, h0: Spec, vk: Spec, hk: Spec) -> tuple[int, int, int, int]:
        return 1, h0.shape[1], v0.shape[1], v0.shape[0] + vk.shape[0]

    def forward(self, xp: Any, v0: Any, h0: Any, vk: Any, hk: Any) -> tuple[Any, ...]:
        dweight = xp.matmul(hk.T, vk) / len(vk) - xp.matmul(h0.T, v0) / len(v0)
        return dweight, vk.mean(0) - v0.mean(0), hk.mean(0) - h0.mean(0)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        op = cls()
        data = [[[1, 0], [1, 1]], [[1], [0]], [[0, 1]], [[1]]]
        v0, h0, vk, hk = (np.array(rows, np.float32) for rows in data)
        want = tuple(np.array(y, np.float32) for y in ([[-0.5, 1]], [-1, 0.5], [0.5]))
        yield Case("by hand", op, lambda rng: (v0, h0, vk, hk), golden=want)
        for n, chains, visible, hidden in [(9, 9, 13, 7), (1, 5, 3, 2), (100, 33, 36, 40)]:
            shapes = (n, visible), (n, hidden), (chains, visible), (chains, hidden)
            yield Case(f"{n}+{chains}x{visible}x{hidden}", op, draw(*shapes))
        yield Case("rows", op, draw((4, 3), (5, 2), (4, 3), (4, 2)), error="h0 .* as many rows")
        yield Case("none", op, draw((0, 3), (0, 2), (4, 3), (4, 2)), error="v0 .* N above 0")


@public("functional")
def gibbs_half_step(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    transpose: bool = False,
    gaussian: bool = False,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """(mean, sample) of one layer of a restricted Boltzmann machine, given the other.

    input: (N, inputs). weight: (hidden, visible). Draws hidden units given visible ones, or with
    `transpose` visible units given hidden ones. Binary units are 1 with probability
    sigmoid(input·weightᵀ + bias); with `gaussian` they are normal with mean input·weight + bias and
    variance 1. The random numbers have the same bits on every device. No gradients.
    """
    outputs = weight.shape[1 if transpose else 0] if weight.ndim == 2 else 0
    counter = counter_on(input.device, (len(input) if input.ndim else 0) * outputs, generator)
    op = GibbsHalfStepOp.of(transpose, gaussian)
    return apply(op, input, weight, bias, counter)  # type: ignore[no-any-return]


@public("functional")
def contrastive_divergence(
    v0: Tensor, h0: Tensor, vk: Tensor, hk: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(dweight, dvisible_bias, dhidden_bias): the estimated gradient of the mean negative
    log-likelihood of a restricted Boltzmann machine.

    v0: (N, visible) data, h0: (N, hidden) their hidden means; vk, hk: the same for any number of
    Markov chains. Hinton 2002.
    """
    return apply(ContrastiveDivergenceOp.of(), v0, h0, vk, hk)  # type: ignore[no-any-return]
