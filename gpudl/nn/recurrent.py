"""Recurrent layers over sequences: RNN, LSTM, GRU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from gpudl.autograd.tensor import Tensor
from gpudl.core.refuse import no_tensor
from gpudl.nn import init
from gpudl.nn.module import Module, Parameter
from gpudl.nn.utils.rnn import PackedSequence, check_lengths
from gpudl.ops.matrix.linear import linear
from gpudl.ops.random.fills import dropout as drop
from gpudl.ops.recurrent.gru import gru_sequence
from gpudl.ops.recurrent.lstm import lstm_sequence
from gpudl.ops.recurrent.rnn import NONLINEARITIES, rnn_sequence
from gpudl.ops.shape.create import empty, zeros
from gpudl.ops.shape.joining import cat, stack

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

States = tuple[Tensor, ...]
State = TypeVar("State")  # of forward(): h, for an LSTM the pair (h, c)


class RNNBase(Module, Generic[State]):
    """Base of RNN, LSTM and GRU: layers, directions, parameters with PyTorch's names and shapes.

    Parameters start uniform in ±1/√hidden_size.
    """

    gates = 1  # rows of a weight, in units of hidden_size
    states: tuple[str, ...] = ("h_0",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if hidden_size < 1 or num_layers < 1:
            raise ValueError(
                f"{name}: hidden_size={hidden_size} and num_layers={num_layers} must be positive"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is {dropout}; it must be from 0 to 1")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        for layer, suffix in self._suffixes():
            features = input_size if layer == 0 else hidden_size * self.directions
            rows = self.gates * hidden_size
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, features),
                "weight_hh": (rows, hidden_size),
            }
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            for parameter, shape in shapes.items():
                self.register_parameter(f"{parameter}_{suffix}", Parameter(empty(*shape)))
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self) -> Iterator[tuple[int, str]]:
        """(layer, suffix of parameter names) for each layer and direction, forward first."""
        for layer in range(self.num_layers):
            yield layer, f"l{layer}"
            if self.bidirectional:
                yield layer, f"l{layer}_reverse"

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: the kernels do not need contiguous weights."""

    if TYPE_CHECKING:  # from forward() Module takes one overload only

        @overload
        def __call__(
            self, input: Tensor, hx: State | None = None, lengths: Any = None
        ) -> tuple[Tensor, State]: ...
        @overload
        def __call__(
            self, input: PackedSequence, hx: State | None = None, lengths: None = None
        ) -> tuple[PackedSequence, State]: ...
        def __call__(self, *inputs: Any, **named: Any) -> Any: ...

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """Return all states of the last layer and the last states of all layers.

        input: (T, N, input_size), (N, T, input_size) with batch_first, (T, input_size) for one
        sequence, or a PackedSequence. hx: (num_layers·directions, N, hidden_size), zeros if None;
        for an LSTM a pair (h_0, c_0). lengths: (N), the number of steps of each sequence, 1 to T;
        later outputs are zero. Returns (output, h_n), for an LSTM (output, (h_n, c_n)); the last
        axis of output has directions·hidden_size features.
        """
        if isinstance(input, PackedSequence):
            self._check_packed(input, lengths)
            y, last = self._run(input.padded, hx, input.lengths)
            return PackedSequence(y, input.lengths, input.order), last
        self._check_input(input)
        if input.ndim == 2:
            y, last = self._run(input.unsqueeze(1), self._add_batch(hx), lengths)
            unbatched = tuple(s.squeeze(1) for s in last) if isinstance(last, tuple) else None
            return y.squeeze(1), unbatched if unbatched is not None else last.squeeze(1)
        if not self.batch_first:
            return self._run(input, hx, lengths)
        y, last = self._run(input.transpose(0, 1), hx, lengths)
        return y.transpose(0, 1), last

    def _run(self, x: Tensor, hx: Any, lengths: Any) -> tuple[Tensor, Any]:
        """forward for a tensor (T, N, input_size)."""
        steps, batch = x.shape[:2]
        name = type(self).__name__
        if lengths is not None and x.device.name != "meta":  # meta has no values to check
            counts = check_lengths(name, lengths, steps, batch)
            lengths = Tensor.from_array(x.device.asarray(counts), x.device)
        first = self._first_states(hx, x)
        last: list[States] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = drop(x, self.dropout)
            ys = []
            for direction in range(self.directions):
                index = layer * self.directions + direction
                suffix = f"l{layer}_reverse" if direction else f"l{layer}"
                start = tuple(s[index] for s in first)
                y, *end = self._sequence(x, suffix, start, lengths, direction == 1)
                ys.append(y)
                last.append(tuple(end))
            x = ys[0] if len(ys) == 1 else cat(ys, 2)
        ends = tuple(stack(states) for states in zip(*last, strict=True))
        return x, ends if len(ends) > 1 else ends[0]

    def _sequence(
        self, x: Tensor, suffix: str, start: States, lengths: Tensor | None, reverse: bool
    ) -> States:
        """Run one layer in one direction; return all its states and the last ones."""
        raise TypeError(f"{type(self).__name__} does not define _sequence()")

    def _projected(self, x: Tensor, suffix: str, both: bool = True) -> Tensor:
        """x · weight_ihᵀ + bias_ih, and + bias_hh if `both`, for all steps at once."""
        bias = None
        if self.bias:
            bias = getattr(self, f"bias_ih_{suffix}")
            if both:
                bias = bias + getattr(self, f"bias_hh_{suffix}")
        return linear(x, getattr(self, f"weight_ih_{suffix}"), bias)

    # ---------------------------------------------------------------- checks

    def _check_input(self, input: Any) -> None:
        name = type(self).__name__
        if not isinstance(input, Tensor):
            raise no_tensor(name, "input", input)
        if input.ndim not in (2, 3):
            raise ValueError(f"{name}: input has {input.ndim} axes; it must have 2 or 3")
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: input has {input.shape[-1]} features; input_size is {self.input_size}"
            )

    def _check_packed(self, input: PackedSequence, lengths: Any) -> None:
        self._check_input(input.padded)
        if lengths is not None:
            raise ValueError(
                f"{type(self).__name__}: a PackedSequence has its lengths; leave out lengths="
            )

    def _as_tuple(self, hx: Any) -> States:
        """The initial states as a tuple, in the order of `states`."""
        count = len(self.states)
        if isinstance(hx, Tensor) and count == 1:
            return (hx,)
        if isinstance(hx, (tuple, list)) and len(hx) == count > 1:
            return tuple(hx)
        expected = "a tensor h_0" if count == 1 else f"a pair ({', '.join(self.states)})"
        raise TypeError(f"{type(self).__name__}: hx is {type(hx).__name__}; it must be {expected}")

    def _add_batch(self, hx: Any) -> Any:
        """Turn states of one sequence, (layers·directions, H), into those of a batch of one."""
        if hx is None:
            return None
        given = self._as_tuple(hx)
        for name, state in zip(self.states, given, strict=True):
            if state.ndim != 2:
                raise ValueError(
                    f"{type(self).__name__}: {name} has {state.ndim} axes; for an input of 2 axes "
                    "it must have 2"
                )
        batched = tuple(s.unsqueeze(1) for s in given)
        return batched if len(batched) > 1 else batched[0]

    def _first_states(self, hx: Any, x: Tensor) -> States:
        shape = (self.num_layers * self.directions, x.shape[1], self.hidden_size)
        if hx is None:
            zero = zeros(*shape, dtype=x.dtype, device=x.device)
            return (zero,) * len(self.states)
        given = self._as_tuple(hx)
        for name, state in zip(self.states, given, strict=True):
            if tuple(state.shape) != shape:
                raise ValueError(
                    f"{type(self).__name__}: {name} has shape {tuple(state.shape)}; "
                    f"it must have {shape}"
                )
        return given

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        defaults["bidirectional"] = False
        for name, value in defaults.items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase[Tensor]):
    """h[t] = f(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh), f = "tanh" or "relu" (Elman 1990).

    See RNNBase.forward for shapes.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"RNN: nonlinearity {nonlinearity!r} must be one of {NONLINEARITIES}")
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
        )
        self.nonlinearity = nonlinearity

    def _sequence(
        self, x: Tensor, suffix: str, start: States, lengths: Tensor | None, reverse: bool
    ) -> States:
        weight = getattr(self, f"weight_hh_{suffix}")
        projected = self._projected(x, suffix)
        return rnn_sequence(projected, weight, start[0], lengths, self.nonlinearity, reverse)

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text + (f", nonlinearity={self.nonlinearity}" if self.nonlinearity != "tanh" else "")


class LSTM(RNNBase[tuple[Tensor, Tensor]]):
    """Long short-term memory with the gates i, f, g, o in the rows of its weights:

    c[t] = σ(f)·c[t-1] + σ(i)·tanh(g), h[t] = σ(o)·tanh(c[t]). Hochreiter and Schmidhuber 1997;
    Gers, Schmidhuber and Cummins 2000. See RNNBase.forward for shapes. proj_size is not supported.
    """

    gates = 4
    states = ("h_0", "c_0")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if proj_size:
            raise ValueError(
                f"LSTM: proj_size is {proj_size}; projected states are not supported, put a Linear "
                "layer after the LSTM"
            )
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
        )

    def _sequence(
        self, x: Tensor, suffix: str, start: States, lengths: Tensor | None, reverse: bool
    ) -> States:
        weight = getattr(self, f"weight_hh_{suffix}")
        h, c = start
        return lstm_sequence(self._projected(x, suffix), weight, h, c, lengths, reverse)


class GRU(RNNBase[Tensor]):
    """Gated recurrent units with the gates r, z, n in the rows of their weights:

    n = tanh(W_in x + b_in + r·(W_hn h + b_hn)), h[t] = (1 - z)·n + z·h[t-1]. Cho et al. 2014, in
    PyTorch's form. See RNNBase.forward for shapes.
    """

    gates = 3

    def _sequence(
        self, x: Tensor, suffix: str, start: States, lengths: Tensor | None, reverse: bool
    ) -> States:
        weight = getattr(self, f"weight_hh_{suffix}")
        bias = getattr(self, f"bias_hh_{suffix}") if self.bias else None
        projected = self._projected(x, suffix, both=False)
        return gru_sequence(projected, weight, bias, start[0], lengths, reverse)
