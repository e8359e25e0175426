"""Gated recurrent units over a whole sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Spec, require
from gpudl.core.public import public
from gpudl.ops.recurrent.base import RecurrentSequence, sigmoid


class GruSequenceOp(RecurrentSequence):
    """With (u, v, q) = h[t-1] · weightᵀ + bias and (a, b, c) = x[t]:

    r = σ(a + u), z = σ(b + v), n = tanh(c + r·q), h[t] = (1 - z)·n + z·h[t-1]. Cho et al. 2014, in
    the form of PyTorch and cuDNN, where r multiplies the product including bias. gates:
    (T, N, 4H), r, z, n, q. See RecurrentSequence.
    """

    inputs = ("x", "weight", "bias?", "h0", "lengths?")
    outputs = ("y", "hn", "gates")
    internal = ("gates",)
    saves = ("weight", "h0", "lengths", "y", "gates")
    cpu = ("batched",)
    GATES = 3

    def infer(
        self, x: Spec, weight: Spec, bias: Spec | None, h0: Spec, lengths: Spec | None
    ) -> tuple[Spec, ...]:
        self.check_inputs(x, weight, lengths, h0=h0)
        fits = bias is None or bias.shape == weight.shape[:1]
        require(fits, self, "bias", f"is {bias}; it must have shape {weight.shape[:1]}")
        steps, batch, hidden = *x.shape[:2], h0.shape[1]
        all_states = Spec((steps, batch, hidden), x.dtype)
        return all_states, Spec(h0.shape, x.dtype), Spec((steps, batch, 4 * hidden), x.dtype)

    def forward(
        self, xp: Any, x: Any, weight: Any, bias: Any, h0: Any, lengths: Any
    ) -> tuple[Any, ...]:
        hidden = weight.shape[1]
        y = xp.zeros((*x.shape[:2], hidden), x.dtype)
        gates = xp.zeros((*x.shape[:2], 4 * hidden), x.dtype)
        h = h0.copy()
        for t in self.steps(len(x)):
            u, v, q = xp.split(product(xp, h, weight, bias), 3, axis=1)
            a, b, c = xp.split(x[t], 3, axis=1)
            r, z = sigmoid(xp, a + u), sigmoid(xp, b + v)
            n = xp.tanh(c + r * q)
            new = (1 - z) * n + z * h
            made = xp.concatenate([r, z, n, q], axis=1)
            on = self.counts(t, lengths)
            gates[t] = made if on is None else xp.where(on, made, 0)
            y[t] = new if on is None else xp.where(on, new, 0)
            h = new if on is None else xp.where(on, new, h)
        return y, h, gates

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dhn = dys[:2]
        weight, lengths = saved.weight, saved.lengths
        before = self.before(xp, saved.y, saved.h0, lengths)
        dx, dproduct = (xp.zeros((*before.shape[:2], len(weight)), before.dtype) for _ in range(2))
        dh = xp.zeros_like(saved.h0) if dhn is None else dhn
        for t in reversed(self.steps(len(before))):
            r, z, n, q = xp.split(saved.gates[t], 4, axis=1)
            d = dh if dy is None else dh + dy[t]
            dn = d * (1 - z) * (1 - n * n)
            da, db = dn * q * r * (1 - r), d * (before[t] - n) * z * (1 - z)
            dx[t] = xp.concatenate([da, db, dn], axis=1)
            dproduct[t] = xp.concatenate([da, db, dn * r], axis=1)
            back = xp.matmul(dproduct[t], weight) + d * z
            on = self.counts(t, lengths)
            if on is not None:
                dx[t], dproduct[t] = xp.where(on, dx[t], 0), xp.where(on, dproduct[t], 0)
            dh = back if on is None else xp.where(on, back, dh)
        dweight, dbias = self._parameters(xp, dproduct, before, needs)
        return dx, dweight, dbias, dh, None

    def _parameters(self, xp: Any, dproduct: Array, before: Array, needs: Any) -> Any:
        """Gradients of weight and bias, from those of the products of all steps."""
        rows = dproduct.reshape(dproduct.shape[0] * dproduct.shape[1], dproduct.shape[2])
        states = before.reshape(len(rows), before.shape[2])
        dweight = xp.matmul(rows.T, states) if needs[1] else None
        return dweight, rows.sum(axis=0) if needs[2] else None

    # ------------------------------------------------------------ faster NumPy form

    def forward_batched(
        self, xp: Any, x: Any, weight: Any, bias: Any, h0: Any, lengths: Any
    ) -> tuple[Any, ...]:
        """One tanh per step for both sigmoids, by σ(z) = (1 + tanh(z/2))/2; the loop allocates
        almost nothing."""
        if lengths is not None:
            return self.forward(xp, x, weight, bias, h0, lengths)
        hidden = weight.shape[1]
        transposed = np.ascontiguousarray(weight.T)
        y = np.empty((*x.shape[:2], hidden), x.dtype)
        gates = np.empty((*x.shape[:2], 4 * hidden), x.dtype)
        made, part = np.empty_like(x[0]), np.empty_like(h0)
        half, h = x.dtype.type(0.5), h0
        for t in self.steps(len(x)):
            np.matmul(h, transposed, out=made)
            if bias is not None:
                made += bias
            both, n = gates[t, :, : 2 * hidden], gates[t, :, 2 * hidden : 3 * hidden]
            np.add(x[t, :, : 2 * hidden], made[:, : 2 * hidden], out=both)
            both *= half
            np.tanh(both, out=both)
            both *= half
            both += half
            q = made[:, 2 * hidden :]
            gates[t, :, 3 * hidden :] = q
            np.multiply(both[:, :hidden], q, out=n)
            n += x[t, :, 2 * hidden :]
            np.tanh(n, out=n)
            np.subtract(h, n, out=part)
            part *= both[:, hidden:]
            h = np.add(part, n, out=y[t])
        return y, h.copy(), gates

    def backward_batched(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        """Factors that do not depend on later steps are computed for all steps at once."""
        if saved.lengths is not None:
            return self.backward(xp, dys, saved, needs)
        dy, dhn = dys[:2]
        before = self.before(np, saved.y, saved.h0, None)
        steps, batch, hidden = before.shape
        r, z, n, q = np.moveaxis(saved.gates.reshape(steps, batch, 4, hidden), 2, 0)
        factors = np.empty((steps, batch, 3, hidden), before.dtype)
        to_n = (1 - n * n) * (1 - z)
        factors[:, :, 2] = to_n * r
        np.multiply(factors[:, :, 2] * q, 1 - r, out=factors[:, :, 0])
        np.multiply((before - n) * z, 1 - z, out=factors[:, :, 1])
        dproduct = np.empty_like(factors)
        flat = dproduct.reshape(steps, batch, 3 * hidden)
        dh = np.zeros_like(saved.h0) if dhn is None else dhn.copy()
        all_dh, back = np.empty_like(before), np.empty_like(dh)
        for t in reversed(self.steps(steps)):
            d = all_dh[t]
            np.add(dh, 0 if dy is None else dy[t], out=d)
            np.multiply(factors[t], d[:, None], out=dproduct[t])
            np.matmul(flat[t], saved.weight, out=back)
            np.multiply(d, z[t], out=dh)
            dh += back
        dx = dproduct.copy()
        np.multiply(to_n, all_dh, out=dx[:, :, 2])
        return dx.reshape(flat.shape), *self._parameters(np, flat, before, needs), dh, None

    def twin(self, torch: Any, x: Any, weight: Any, bias: Any, h0: Any, lengths: Any) -> Any:
        module = torch.nn.GRU(x.shape[2], h0.shape[1])
        none = torch.zeros(len(weight), dtype=x.dtype)
        weights = {"weight_hh_l0": weight, "bias_ih_l0": none}
        weights["bias_hh_l0"] = none if bias is None else bias
        return self.torch_module(torch, module, weights, x, h0, lengths)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases(cls.of(False), cls.of(True), bias=True)
        yield Case("no bias", cls.of(False), cls.draw(2, 3, 4))
        # By hand: zero weights give r = z = 1/2, n = tanh(1 + b_n/2), h = (n + h0)/2.
        x, bias = np.array([[[0, 0, 1]]], np.float32), np.array([0, 0, 2], np.float32)
        weight, h0 = np.zeros((3, 1), np.float32), np.array([[1]], np.float32)
        h = (0.9640275800758169 + 1) / 2
        golden = (np.array([[[h]]], np.float32), np.array([[h]], np.float32))
        make = lambda rng: (x, weight, bias, h0, None)  # noqa: E731
        yield Case("by hand", cls.of(False), make, golden=golden)


def product(xp: Any, h: Array, weight: Array, bias: Any) -> Array:
    made: Array = xp.matmul(h, weight.T)
    return made if bias is None else made + bias


@public("functional")
def gru_sequence(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h0: Tensor,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """A GRU layer in one direction, given its input projections.

    x: (T, N, 3H), gates in the order r, z, n; weight: (3H, H); bias: (3H), added to the product of
    state and weight; h0: (N, H); lengths: (N) int64 -> all h (T, N, H), zero beyond a sample's
    length, and the last h (N, H). reverse: run from each sample's end to its start.
    """
    made = apply(GruSequenceOp.of(bool(reverse)), x, weight, bias, h0, lengths)
    return made[:2]  # type: ignore[no-any-return]
