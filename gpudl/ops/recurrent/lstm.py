"""Long short-term memory over a whole sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Spec
from gpudl.core.public import public
from gpudl.ops.recurrent.base import RecurrentSequence, sigmoid


class LstmSequenceOp(RecurrentSequence):
    """With (i, f, g, o) = x[t] + h[t-1] · weightᵀ, then σ applied to i, f, o and tanh to g:

    c[t] = f·c[t-1] + i·g, h[t] = o·tanh(c[t]). Hochreiter and Schmidhuber 1997, with the forget
    gate of Gers, Schmidhuber and Cummins 2000. gates: (T, N, 4H), i, f, g, o after σ and tanh;
    cells: (T, N, H), all c[t]. See RecurrentSequence.
    """

    inputs = ("x", "weight", "h0", "c0", "lengths?")
    outputs = ("y", "hn", "cn", "gates", "cells")
    internal = ("gates", "cells")
    saves = ("weight", "h0", "c0", "lengths", "y", "gates", "cells")
    cpu = ("batched",)
    GATES = 4
    STATES = ("h0", "c0")

    def infer(
        self, x: Spec, weight: Spec, h0: Spec, c0: Spec, lengths: Spec | None
    ) -> tuple[Spec, ...]:
        self.check_inputs(x, weight, lengths, h0=h0, c0=c0)
        state, all_states = Spec(h0.shape, x.dtype), Spec((*x.shape[:2], h0.shape[1]), x.dtype)
        return all_states, state, state, Spec(x.shape, x.dtype), all_states

    def forward(
        self, xp: Any, x: Any, weight: Any, h0: Any, c0: Any, lengths: Any
    ) -> tuple[Any, ...]:
        y, cells = (xp.zeros((*x.shape[:2], weight.shape[1]), x.dtype) for _ in range(2))
        gates = xp.zeros_like(x)
        h, c = h0.copy(), c0.copy()
        for t in self.steps(len(x)):
            i, f, g, o = xp.split(x[t] + xp.matmul(h, weight.T), 4, axis=1)
            i, f, g, o = sigmoid(xp, i), sigmoid(xp, f), xp.tanh(g), sigmoid(xp, o)
            new_c = f * c + i * g
            new_h = o * xp.tanh(new_c)
            made = xp.concatenate([i, f, g, o], axis=1)
            on = self.counts(t, lengths)
            if on is not None:
                gates[t], cells[t] = xp.where(on, made, 0), xp.where(on, new_c, 0)
                y[t] = xp.where(on, new_h, 0)
                h, c = xp.where(on, new_h, h), xp.where(on, new_c, c)
            else:
                gates[t], cells[t], y[t] = made, new_c, new_h
                h, c = new_h, new_c
        return y, h, c, gates, cells

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dhn, dcn = dys[:3]
        weight, lengths = saved.weight, saved.lengths
        before = self.before(xp, saved.cells, saved.c0, lengths)
        dx = xp.zeros_like(saved.gates)
        dh = xp.zeros_like(saved.h0) if dhn is None else dhn
        dc = xp.zeros_like(saved.h0) if dcn is None else dcn
        for t in reversed(self.steps(len(saved.y))):
            i, f, g, o = xp.split(saved.gates[t], 4, axis=1)
            squashed = xp.tanh(saved.cells[t])
            d = dh if dy is None else dh + dy[t]
            all_c = dc + d * o * (1 - squashed * squashed)
            di, df, dg, do = all_c * g, all_c * before[t], all_c * i, d * squashed
            dz = [di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)]
            dx[t] = xp.concatenate(dz, axis=1)
            on = self.counts(t, lengths)
            if on is not None:
                dx[t] = xp.where(on, dx[t], 0)
            back_h, back_c = xp.matmul(dx[t], weight), all_c * f
            dh = back_h if on is None else xp.where(on, back_h, dh)
            dc = back_c if on is None else xp.where(on, back_c, dc)
        return dx, self._dweight(xp, dx, saved, needs), dh, dc, None

    def _dweight(self, xp: Any, dx: Array, saved: Any, needs: Any) -> Array | None:
        if not needs[1]:
            return None
        before = self.before(xp, saved.y, saved.h0, saved.lengths)
        rows = dx.shape[0] * dx.shape[1]
        made = xp.matmul(dx.reshape(rows, dx.shape[2]).T, before.reshape(rows, before.shape[2]))
        return made

    # ------------------------------------------------------------ faster NumPy form

    def forward_batched(
        self, xp: Any, x: Any, weight: Any, h0: Any, c0: Any, lengths: Any
    ) -> tuple[Any, ...]:
        """One exponential per step for all gates, by σ(z) = 1/(1 + exp(-z)) and tanh(z) =
        2σ(2z) - 1; the loop allocates nothing."""
        if lengths is not None:
            return self.forward(xp, x, weight, h0, c0, lengths)
        hidden = weight.shape[1]
        slope = np.repeat(np.array([-1, -1, -2, -1], x.dtype), hidden)
        transposed = np.ascontiguousarray(weight.T) * slope
        gates = np.empty_like(x)
        y, cells = (np.empty((*x.shape[:2], hidden), x.dtype) for _ in range(2))
        product, part = np.empty_like(x[0]), np.empty_like(h0)
        h, c = h0, c0
        for t in self.steps(len(x)):
            z = np.multiply(x[t], slope, out=gates[t])
            z += np.matmul(h, transposed, out=product)
            np.exp(z, out=z)
            z += 1
            np.reciprocal(z, out=z)
            g = z[:, 2 * hidden : 3 * hidden]
            g *= 2
            g -= 1
            new_c = np.multiply(z[:, hidden : 2 * hidden], c, out=cells[t])
            new_c += np.multiply(z[:, :hidden], g, out=part)
            np.tanh(new_c, out=part)
            h, c = np.multiply(z[:, 3 * hidden :], part, out=y[t]), new_c
        return y, h.copy(), c.copy(), gates, cells

    def backward_batched(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        """Factors that do not depend on later steps are computed for all steps at once."""
        if saved.lengths is not None:
            return self.backward(xp, dys, saved, needs)
        dy, dhn, dcn = dys[:3]
        factors, through = self._factors(saved)
        steps, batch, hidden = saved.y.shape
        forget = saved.gates[:, :, hidden : 2 * hidden]
        dx = np.empty((steps, batch, 4, hidden), factors.dtype)
        dh = np.zeros_like(saved.h0) if dhn is None else dhn.copy()
        dc = np.zeros_like(saved.h0) if dcn is None else dcn.copy()
        part, flat = np.empty_like(dh), dx.reshape(steps, batch, 4 * hidden)
        for t in reversed(self.steps(steps)):
            if dy is not None:
                dh += dy[t]
            dc += np.multiply(dh, through[t], out=part)
            np.multiply(factors[t, :, :3], dc[:, None], out=dx[t, :, :3])
            np.multiply(factors[t, :, 3], dh, out=dx[t, :, 3])
            dh = np.matmul(flat[t], saved.weight, out=dh)
            dc *= forget[t]
        return flat, self._dweight(xp, flat, saved, needs), dh, dc, None

    def _factors(self, saved: Any) -> tuple[Array, Array]:
        """(T, N, 4, H): derivatives of c by (i, f, g) and of h by o, before σ and tanh;
        (T, N, H): derivative of h by c."""
        steps, batch, hidden = saved.y.shape
        gates = saved.gates.reshape(steps, batch, 4, hidden)
        factors = np.subtract(1, gates)
        factors *= gates
        g = gates[:, :, 2]
        squashed = np.tanh(saved.cells)
        through = 1 - squashed * squashed
        through *= gates[:, :, 3]
        factors[:, :, 0] *= g
        factors[:, :, 1] *= self.before(np, saved.cells, saved.c0, None)
        factors[:, :, 2] = (1 - g * g) * gates[:, :, 0]
        factors[:, :, 3] *= squashed
        return factors, through

    def twin(self, torch: Any, x: Any, weight: Any, h0: Any, c0: Any, lengths: Any) -> Any:
        module = torch.nn.LSTM(x.shape[2], h0.shape[1], bias=False)
        return self.torch_module(torch, module, {"weight_hh_l0": weight}, x, h0, c0, lengths)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases(cls.of(False), cls.of(True))
        # By hand: x = 0 gives i = f = o = 1/2; g = tanh(1). c = c0/2 + tanh(1)/2, h = tanh(c)/2.
        x = np.array([[[0, 0, 1, 0]]], np.float32)
        weight = np.zeros((4, 1), np.float32)
        h0, c0 = np.zeros((1, 1), np.float32), np.array([[2]], np.float32)
        h, c = 0.4405648141721129, 1.3807970779778824
        golden = tuple(np.array(v, np.float32) for v in ([[[h]]], [[h]], [[c]]))
        make = lambda rng: (x, weight, h0, c0, None)  # noqa: E731
        yield Case("by hand", cls.of(False), make, golden=golden)


@public("functional")
def lstm_sequence(
    x: Tensor,
    weight: Tensor,
    h0: Tensor,
    c0: Tensor,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """An LSTM layer in one direction, given its input projections.

    x: (T, N, 4H), gates in the order i, f, g, o; weight: (4H, H); h0, c0: (N, H); lengths: (N)
    int64 -> all h (T, N, H), zero beyond a sample's length, and the last h and c (N, H). reverse:
    run from each sample's end to its start.
    """
    made = apply(LstmSequenceOp.of(bool(reverse)), x, weight, h0, c0, lengths)
    return made[:3]  # type: ignore[no-any-return]
