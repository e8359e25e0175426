"""The simple (Elman) recurrent layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case, Spec, require
from gpudl.core.public import public
from gpudl.ops.recurrent.base import RecurrentSequence

NONLINEARITIES = ("tanh", "relu")


class RnnSequenceOp(RecurrentSequence):
    """h[t] = f(x[t] + h[t-1] · weightᵀ), f = tanh or relu (Elman 1990); see RecurrentSequence."""

    inputs = ("x", "weight", "h0", "lengths?")
    outputs = ("y", "hn")
    saves = ("weight", "h0", "lengths", "y")
    GATES = 1

    nonlinearity: str = "tanh"

    def parameters(self) -> dict[str, Any]:
        return {"reverse": self.reverse, "nonlinearity": NONLINEARITIES.index(self.nonlinearity)}

    def infer(self, x: Spec, weight: Spec, h0: Spec, lengths: Spec | None) -> tuple[Spec, ...]:
        self.check_inputs(x, weight, lengths, h0=h0)
        known = self.nonlinearity in NONLINEARITIES
        require(
            known, self, "nonlinearity", f"is {self.nonlinearity!r}; use one of {NONLINEARITIES}"
        )
        return Spec((*x.shape[:2], h0.shape[1]), x.dtype), Spec(h0.shape, x.dtype)

    def forward(self, xp: Any, x: Any, weight: Any, h0: Any, lengths: Any) -> tuple[Any, ...]:
        y = xp.zeros((*x.shape[:2], weight.shape[1]), x.dtype)
        h = h0.copy()
        for t in self.steps(len(x)):
            z = x[t] + xp.matmul(h, weight.T)
            new = xp.tanh(z) if self.nonlinearity == "tanh" else xp.maximum(z, 0)
            on = self.counts(t, lengths)
            y[t] = new if on is None else xp.where(on, new, 0)
            h = new if on is None else xp.where(on, new, h)
        return y, h

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        weight, y, lengths = saved.weight, saved.y, saved.lengths
        slope = 1 - y * y if self.nonlinearity == "tanh" else (y > 0).astype(y.dtype)
        dx = xp.zeros_like(y)
        dh = xp.zeros_like(saved.h0) if dys[1] is None else dys[1]
        for t in reversed(self.steps(len(y))):
            dz = (dh if dys[0] is None else dh + dys[0][t]) * slope[t]
            on = self.counts(t, lengths)
            dx[t] = dz if on is None else xp.where(on, dz, 0)
            back = xp.matmul(dx[t], weight)
            dh = back if on is None else xp.where(on, back, dh)
        dweight = None
        if needs[1]:
            before = self.before(xp, y, saved.h0, lengths)
            dweight = xp.matmul(dx.reshape(-1, y.shape[2]).T, before.reshape(-1, y.shape[2]))
        return dx, dweight, dh, None

    def twin(self, torch: Any, x: Any, weight: Any, h0: Any, lengths: Any) -> Any:
        sizes = h0.shape[1], h0.shape[1]
        module = torch.nn.RNN(*sizes, nonlinearity=self.nonlinearity, bias=False)
        return self.torch_module(torch, module, {"weight_hh_l0": weight}, x, h0, lengths)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases(cls.of(False, "tanh"), cls.of(True, "relu"))
        x = np.array([[[1]], [[2]], [[-9]]], np.float32)
        weight, h0 = np.array([[2]], np.float32), np.array([[3]], np.float32)
        # by hand: 1 + 2·3, 2 + 2·7, -9 + 2·16
        golden = (np.array([[[7]], [[16]], [[23]]], np.float32), np.array([[23]], np.float32))
        make = lambda rng: (x, weight, h0, None)  # noqa: E731
        yield Case("by hand", cls.of(False, "relu"), make, golden=golden)
        gelu = cls.of(False, "gelu")
        yield Case("gelu", gelu, cls.draw(1, 1, 1), error="nonlinearity is 'gelu'")


@public("functional")
def rnn_sequence(
    x: Tensor,
    weight: Tensor,
    h0: Tensor,
    lengths: Tensor | None = None,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """A simple recurrent layer, given its input projections: h[t] = f(x[t] + h[t-1] · weightᵀ).

    x: (T, N, H), weight: (H, H), h0: (N, H), lengths: (N) int64 -> all states (T, N, H), zero
    beyond a sample's length, and the last states (N, H). nonlinearity: f, "tanh" or "relu".
    reverse: run from each sample's end to its start.
    """
    op = RnnSequenceOp.of(bool(reverse), nonlinearity)
    return apply(op, x, weight, h0, lengths)  # type: ignore[no-any-return]
