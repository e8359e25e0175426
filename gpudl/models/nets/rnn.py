"""Elman's recurrent net, unrolled step by step, and three ways to compute its gradient.

Elman, Finding Structure in Time, Cognitive Science 14 (1990). Backpropagation through time:
Rumelhart, Hinton and Williams 1986; Werbos 1990. Truncated: Williams and Peng, Neural Computation 2
(1990). Real-time recurrent learning: Williams and Zipser, Neural Computation 1 (1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.nn import init
from gpudl.nn.module import Parameter
from gpudl.ops.matrix.einsum import einsum
from gpudl.ops.matrix.linear import linear
from gpudl.ops.shape.create import empty, eye, ones, zeros
from gpudl.ops.shape.joining import cat, stack

Loss = Callable[[Tensor, Tensor], Tensor]
Floats = npt.NDArray[np.floating[Any]]
STARTS = ("uniform", "orthogonal", "identity")


class ElmanNet(nn.Module):
    """h[t] = tanh(W_ih x[t] + W_hh h[t-1] + b), y[t] = V h[t] + c.

    weight: (hidden, inputs + hidden + 1), the columns W_ih, W_hh and b in one matrix; the three
    rules below compute the gradient with respect to it. start: initial W_hh, "uniform" in
    ±1/√hidden, "orthogonal" (Saxe, McClelland, Ganguli 2014) or "identity" (Le, Jaitly, Hinton
    2015); the last two are scaled by `gain`.
    """

    weight: Parameter

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        start: str = "uniform",
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if start not in STARTS:
            raise ValueError(f"ElmanNet: start is {start!r}; it must be one of {STARTS}")
        self.inputs, self.hidden = inputs, hidden
        self.weight = Parameter(empty(hidden, inputs + hidden + 1))
        self.head = nn.Linear(hidden, outputs)
        bound = 1 / math.sqrt(hidden)
        init.uniform_(self.weight, -bound, bound)
        if start != "uniform":
            square = eye(hidden)
            if start == "orthogonal":
                init.orthogonal_(square)
            with no_grad():
                self.weight[:, inputs:-1] = square * gain
                self.weight[:, -1] = 0

    @property
    def weight_hh(self) -> Tensor:
        return self.weight[:, self.inputs : -1]

    def first_state(self, x: Tensor) -> Tensor:
        """Zero states (N, hidden) for inputs (T, N, inputs)."""
        return zeros(x.shape[1], self.hidden, dtype=x.dtype, device=x.device)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        """One time step: (N, inputs), (N, hidden) -> (N, hidden)."""
        return linear(self.seen(x, h), self.weight).tanh()

    def seen(self, x: Tensor, h: Tensor) -> Tensor:
        """The input of the weights, (N, inputs + hidden + 1): x, h and 1."""
        return cat([x, h, ones(len(x), 1, dtype=x.dtype, device=x.device)], 1)

    def unfold(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """All states (T, N, hidden) for inputs (T, N, inputs): the net unrolled T times."""
        state = self.first_state(x) if h is None else h
        states = []
        for step in x:
            state = self.step(step, state)
            states.append(state)
        return stack(states)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """(T, N, inputs) -> (T, N, outputs)."""
        return self.head(self.unfold(x, h))


def bptt(net: ElmanNet, x: Tensor, targets: Tensor, loss: Loss) -> float:
    """Backpropagation through time: adds the gradient of the mean loss over steps to `.grad`.

    x: (T, N, inputs). targets: (T, N, …). loss(outputs, targets): the scalar loss of one step. Time
    and memory grow with T. Returns the mean loss.
    """
    return truncated_bptt(net, x, targets, loss, len(x))


def truncated_bptt(net: ElmanNet, x: Tensor, targets: Tensor, loss: Loss, window: int) -> float:
    """As bptt, but the gradient stops at the start of each window of this many steps; the state
    carries on. Memory grows with the window only. Raises ValueError for a window below 1."""
    if window < 1:
        raise ValueError(f"truncated_bptt: window is {window}; it must be 1 or more")
    state, total = net.first_state(x), zeros(1, dtype=x.dtype, device=x.device)
    for start in range(0, len(x), window):
        states = net.unfold(x[start : start + window], state.detach())
        outputs, expected = net.head(states), targets[start : start + window]
        losses = [loss(y, target) for y, target in zip(outputs, expected, strict=True)]
        mean = stack(losses).sum() / len(x)
        mean.backward()
        total = total + mean.detach()
        state = states[-1]
    return float(total.item())  # read once: each read waits for the device


def rtrl(net: ElmanNet, x: Tensor, targets: Tensor, loss: Loss) -> float:
    """Real-time recurrent learning: the same gradient as `bptt`, without going back in time.

    Carries P[n,i,k,l] = ∂h[n,i]/∂weight[k,l] along (Williams and Zipser 1989, equation 8), so the
    gradient is known at each step. Memory does not grow with T, but P has N·hidden²·(inputs +
    hidden + 1) elements.
    """
    state, total = net.first_state(x), zeros(1, dtype=x.dtype, device=x.device)
    columns = net.weight.shape[1]
    identity = eye(net.hidden, device=x.device).to(x.dtype)
    slopes = zeros(len(state), net.hidden, net.hidden, columns, dtype=x.dtype, device=x.device)
    gradient = zeros(net.hidden, columns, dtype=x.dtype, device=x.device)
    for step, target in zip(x, targets, strict=True):
        with no_grad():
            seen = net.seen(step, state)
            state = linear(seen, net.weight).tanh()
            # Through the previous state, and directly: unit i depends on its own row of weights.
            before = einsum("ij,njkl->nikl", net.weight_hh, slopes)
            direct = identity[None, :, :, None] * seen[:, None, None, :]
            slopes = (1 - state * state)[:, :, None, None] * (before + direct)
        leaf = state.detach().requires_grad_()
        mean = loss(net.head(leaf), target) / len(x)
        mean.backward()
        with no_grad():
            gradient += einsum("ni,nikl->kl", leaf.grad, slopes)
        total = total + mean.detach()
    net.weight.grad = gradient if net.weight.grad is None else net.weight.grad + gradient
    return float(total.item())


def jacobian_norms(net: ElmanNet, x: Tensor) -> Floats:
    """(T,) largest singular values of ∂h[T]/∂h[T-k], k = 0 … T-1, for the first sequence of x.

    The product of diag(1 - h²)·W_hh over k steps: it vanishes or explodes (Bengio, Simard, Frasconi
    1994; Pascanu, Mikolov, Bengio 2013).
    """
    with no_grad():
        states = net.unfold(x[:, :1])[:, 0].numpy().astype(np.float64)
        weight = net.weight_hh.numpy().astype(np.float64)
    product = np.eye(net.hidden)
    norms = [1.0]
    for state in states[:0:-1]:
        product = product @ ((1 - state**2)[:, None] * weight)
        norms.append(float(np.linalg.norm(product, 2)))
    return np.array(norms)
