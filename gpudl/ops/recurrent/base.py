"""Base of recurrent operators: one layer in one direction over a whole sequence, given the input
projections of all steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.core.launcher import Launcher, Launchers
from gpudl.core.machine import Machine
from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float


class RecurrentSequence(Op):
    """h[t] = cell(x[t], h[t-1]) for t = 0 … T-1, or T-1 … 0 with reverse.

    x: (T, N, GATES·H), the input projections including bias; weight: (GATES·H, H), multiplies the
    state; h0: (N, H). lengths: (N) int64, at most T: steps t >= lengths[n] keep the state of sample
    n, give y = 0 and pass no gradient. y: (T, N, H), all states; hn: the last state.
    """

    GATES: ClassVar[int]  # width of x, in units of H
    STATES: ClassVar[tuple[str, ...]] = ("h0",)
    kernels = ("persistent", "stepwise")

    reverse: bool = False

    def check_inputs(self, x: Spec, weight: Spec, lengths: Spec | None, **states: Spec) -> None:
        require_float(self, x=x, weight=weight, **states)
        require(len(x.shape) == 3, self, "x", f"is {x}; it must be (T, N, {self.GATES}·H)")
        hidden = x.shape[2] // self.GATES
        require(
            hidden > 0 and hidden * self.GATES == x.shape[2],
            self,
            "x",
            f"is {x}; its last axis must hold {self.GATES} gates of at least one unit each",
        )
        require(x.shape[0] > 0, self, "x", f"is {x}; a sequence must have at least one step")
        expected = (x.shape[2], hidden)
        fits = weight.shape == expected
        require(fits, self, "weight", f"is {weight}; it must have shape {expected} with x {x}")
        for name, state in states.items():
            expected = (x.shape[1], hidden)
            fits = state.shape == expected
            require(fits, self, name, f"is {state}; it must have shape {expected} with x {x}")
        require(
            lengths is None or (lengths.shape == x.shape[1:2] and lengths.dtype == np.int64),
            self,
            "lengths",
            f"is {lengths}; it must be int64 of shape {x.shape[1:2]}",
        )
        require(
            max(2 * x.size, weight.size) < 1 << 31,
            self,
            "x",
            f"is {x}; twice its size, and weight's, must be below 2^31 (split the sequence)",
        )

    # ------------------------------------------------------------ steps over time

    def steps(self, count: int) -> list[int]:
        """The steps in the order of computation."""
        return list(range(count))[:: -1 if self.reverse else 1]

    def before(self, xp: Any, states: Array, start: Array, lengths: Any) -> Array:
        """(T, N, H): the state before each step; arbitrary at steps beyond a sample's length."""
        first = start[None]
        if not self.reverse:
            return xp.concatenate([first, states[:-1]])
        made = xp.concatenate([states[1:], first])
        if lengths is not None:
            last = xp.arange(len(states))[:, None] + 1 == lengths[None]
            made = xp.where(last[:, :, None], first, made)
        return made

    @staticmethod
    def counts(t: int, lengths: Any) -> Any:
        """(N, 1): whether step t lies within each sample's length; None if all are full."""
        return None if lengths is None else (t < lengths)[:, None]

    # ------------------------------------------------------------ kernels

    def fits(self, machine: Machine, kernel: Launcher, *specs: Any) -> bool:
        if kernel.algorithm != "persistent":
            return True
        _, batch, width = specs[0].shape
        sizes = width // self.GATES, self.GATES, batch, machine.multiprocessors
        needed: int = kernel.module.recurrent_shared_bytes(*sizes)
        return needed <= machine.shared_bytes

    def prefer(
        self, machine: Machine | None, precision: str, kernels: Launchers, *specs: Any
    ) -> Launchers:
        """By predicted time; the emulator keeps the declared order."""
        if machine is None:
            return kernels
        gpu = machine
        return tuple(sorted(kernels, key=lambda k: self.predict(gpu, k, *specs)))

    def predict(self, machine: Machine, kernel: Launcher, *specs: Any) -> float:
        """Time per step times the number of steps. persistent: every block reads the state
        (backward, every block sends a part to every other), half of peak arithmetic, a barrier.
        stepwise: two launches, and reading the weight from the L2 cache."""
        (steps, batch, width), weight = specs[0].shape, specs[1].size
        hidden = width // self.GATES
        arithmetic = 2 * batch * weight / (0.5 * machine.flops["float32"])
        forward = kernel.direction == "forward"
        if kernel.algorithm == "stepwise":
            step = 2 * machine.launch + max(arithmetic, 4 * weight / machine.cache)
        else:
            units = padded(hidden, machine.multiprocessors) // machine.multiprocessors
            moved = 4 * batch * hidden * (padded(hidden, units) // units)
            step = machine.barrier + arithmetic + (moved if forward else 2 * moved) / machine.cache
        each = step if forward else step + arithmetic
        return float(steps * each)

    def cost(self, *specs: Any) -> Cost:
        x, weight = specs[0], specs[1]
        products = x.shape[0] * x.shape[1] * weight.size
        present = [s for s in (*specs, *self.infer(*specs)) if s is not None]
        moved = sum(s.size * s.dtype.itemsize for s in present)
        return Cost(2 * products + 10 * x.size, moved, products)

    def reduction(self, *specs: Any) -> int:
        t, n, width = specs[0].shape
        length: int = max(t * n, width) * t
        return length

    # ------------------------------------------------------------ tests

    def torch_module(
        self, torch: Any, module: Any, weights: dict[str, Any], x: Any, *more: Any
    ) -> Any:
        """(y, states…) of PyTorch's one-layer module with identity input projections."""
        *states, lengths = more
        t, n, width = x.shape
        where = torch.arange(t)[:, None].expand(t, n)
        if self.reverse:
            count = torch.full((n,), t) if lengths is None else lengths
            where = torch.where(where < count, count - 1 - where, where)
        x = x.gather(0, where[:, :, None].expand(t, n, width))
        weights = {"weight_ih_l0": torch.eye(width, dtype=x.dtype), **weights}
        hx = tuple(s[None] for s in states)
        rnn = torch.nn.utils.rnn
        if lengths is not None:
            x = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        inputs = (x, hx if len(hx) > 1 else hx[0])
        module._flat_weights = [weights[name] for name in module._flat_weights_names]
        y, last = module(*inputs)
        if lengths is not None:
            y, _ = rnn.pad_packed_sequence(y, total_length=t)
        y = y.gather(0, where[:, :, None].expand(t, n, y.shape[2]))
        return (y, *(s[0] for s in (last if len(hx) > 1 else (last,))))

    @classmethod
    def draw(cls, t: int, n: int, hidden: int, lengths: Any = None, bias: bool = False) -> Any:
        """make(rng) of a Case."""
        width = cls.GATES * hidden
        shapes = [(t, n, width), (width, hidden), *([(width,)] if bias else [])]
        shapes += [(n, hidden)] * len(cls.STATES)

        def make(rng: np.random.Generator) -> tuple[Array | None, ...]:
            arrays: list[Any] = [rng.standard_normal(s).astype(np.float32) for s in shapes]
            arrays[1] /= np.sqrt(np.float32(hidden))
            if cls.inputs[2] == "bias" and not bias:
                arrays.insert(2, None)
            return (*arrays, None if lengths is None else np.array(lengths))

        return make

    @classmethod
    def common_cases(cls, forward: Any, backward: Any, bias: bool = False) -> Iterator[Case]:
        """forward, backward: the operator in each direction of time."""
        draw = cls.draw
        yield Case("one step", forward, draw(1, 3, 5, None, bias))
        yield Case("one sample", forward, draw(3, 1, 8, None, bias))
        yield Case("ragged", forward, draw(3, 5, 13, None, bias))
        yield Case("reverse", backward, draw(3, 2, 6, None, bias))
        yield Case("several chunks", backward, draw(2, 18, 36, None, bias))
        yield Case("wide", backward, draw(2, 2, 134, None, bias))
        yield Case("lengths", forward, draw(4, 4, 5, (2, 4, 1, 4), bias))
        yield Case("lengths, reverse", backward, draw(4, 4, 5, (2, 4, 1, 3), bias))
        yield Case("no samples", forward, draw(2, 0, 3, None, bias))
        name = cls.name
        yield Case("no steps", forward, draw(0, 2, 3, None, bias), error="at least one step")
        wrong = draw(2, 2, 3, (1, 2, 1), bias)
        yield Case("counts", forward, wrong, error=f"{name}: lengths is int64.3.; it must be")
        other = draw(2, 2, 3, None, bias)

        def narrow(rng: np.random.Generator) -> tuple[Array | None, ...]:
            arrays = list(other(rng))
            arrays[1] = arrays[1][:, :2]
            return tuple(arrays)

        yield Case("weight", forward, narrow, error=f"{name}: weight is .* must have shape")


def padded(count: int, to: int) -> int:
    """count, rounded up to a multiple of `to`."""
    return -(-count // to) * to


def sigmoid(xp: Any, x: Array) -> Array:
    return 1 / (1 + xp.exp(-x))
