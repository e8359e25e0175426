"""Single steps of recurrent layers: RNNCell, LSTMCell, GRUCell."""

from __future__ import annotations

import math
from typing import Any

from gpudl.autograd.tensor import Tensor
from gpudl.nn import init
from gpudl.nn.module import Module, Parameter
from gpudl.ops.matrix.linear import linear
from gpudl.ops.recurrent.gru import gru_sequence
from gpudl.ops.recurrent.lstm import lstm_sequence
from gpudl.ops.recurrent.rnn import NONLINEARITIES, rnn_sequence
from gpudl.ops.shape.create import empty, zeros

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]


class RNNCellBase(Module):
    """Base of the cells. Parameters start uniform in ±1/√hidden_size."""

    gates = 1
    states: tuple[str, ...] = ("h",)
    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if hidden_size < 1:
            raise ValueError(
                f"{type(self).__name__}: hidden_size is {hidden_size}; it must be positive"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = self.gates * hidden_size
        self.weight_ih = Parameter(empty(rows, input_size))
        self.weight_hh = Parameter(empty(rows, hidden_size))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows)) if bias else None)
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _next(self, input: Tensor, hx: Any) -> tuple[Tensor, ...]:
        """The states after one step, in the shape of those before it."""
        self._check_input(input)
        batch = input if input.ndim == 2 else input.unsqueeze(0)
        states = self._step(batch.unsqueeze(0), self._first_states(input, hx))
        return tuple(s.squeeze(0) for s in states) if input.ndim == 1 else states

    def _step(self, x: Tensor, start: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """x: (1, N, input_size) -> the next states, (N, hidden_size) each."""
        raise TypeError(f"{type(self).__name__} does not define _step()")

    def _projected(self, x: Tensor, both: bool = True) -> Tensor:
        bias: Any = self.bias_ih
        if both and self.bias_hh is not None:
            bias = bias + self.bias_hh
        return linear(x, self.weight_ih, bias)

    def _check_input(self, input: Tensor) -> None:
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: input has {input.ndim} axes; it must have 1 or 2")
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: input has {input.shape[-1]} features; input_size is {self.input_size}"
            )

    def _first_states(self, input: Tensor, hx: Any) -> tuple[Tensor, ...]:
        """The initial states, (N, hidden_size) each."""
        shape = (*input.shape[:-1], self.hidden_size)
        count = len(self.states)
        if hx is None:
            given: tuple[Any, ...] = (zeros(*shape, dtype=input.dtype, device=input.device),)
            given *= count
        else:
            given = (hx,) if count == 1 else tuple(hx)
        shapes = [tuple(s.shape) for s in given]
        if shapes != [shape] * count:
            raise ValueError(
                f"{type(self).__name__}: hx has the shapes {shapes}; "
                f"{' and '.join(self.states)} must have {shape}"
            )
        return given if input.ndim == 2 else tuple(s.unsqueeze(0) for s in given)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh), f = "tanh" or "relu"."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"RNNCell: nonlinearity {nonlinearity!r} must be one of {NONLINEARITIES}"
            )
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """input: (N, input_size) or (input_size); hx: (N, hidden_size) or (hidden_size), zeros if
        None. Returns the next state in the same shape."""
        return self._next(input, hx)[0]

    def _step(self, x: Tensor, start: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        projected = self._projected(x)
        return rnn_sequence(projected, self.weight_hh, start[0], None, self.nonlinearity)[1:]


class LSTMCell(RNNCellBase):
    """One step of an LSTM: (h', c') from (h, c); see LSTM."""

    gates = 4
    states = ("h", "c")

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """input: (N, input_size) or (input_size); hx: the pair (h, c), each (N, hidden_size) or
        (hidden_size), zeros if None. Returns the next pair in the same shapes."""
        h, c = self._next(input, hx)
        return h, c

    def _step(self, x: Tensor, start: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return lstm_sequence(self._projected(x), self.weight_hh, start[0], start[1])[1:]


class GRUCell(RNNCellBase):
    """One step of a GRU; see GRU."""

    gates = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """input: (N, input_size) or (input_size); hx: (N, hidden_size) or (hidden_size), zeros if
        None. Returns the next state in the same shape."""
        return self._next(input, hx)[0]

    def _step(self, x: Tensor, start: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        projected = self._projected(x, both=False)
        return gru_sequence(projected, self.weight_hh, self.bias_hh, start[0])[1:]
