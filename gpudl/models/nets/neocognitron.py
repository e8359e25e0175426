"""The Neocognitron: K. Fukushima, Neocognitron: a self-organizing neural network model for a
mechanism of pattern recognition unaffected by shift in position, Biological Cybernetics 36 (1980).

Three stages, each with a layer of S-cells that detect features and a layer of C-cells that tolerate
small shifts of them. Training is unsupervised: the S-cells with the strongest response to a pattern
learn it. Equation numbers are the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor, tensor
from gpudl.nn import functional as F
from gpudl.ops.index.slices import where
from gpudl.ops.shape.create import arange

Window = np.ndarray[Any, np.dtype[np.float32]]
ALPHA = 0.5  # saturation of C-cells: the half-maximum of ψ


def falling(size: int, rate: float) -> Window:
    """(size, size) weights rate^(distance from the centre), which sum to 1."""
    offset = np.arange(size) - (size - 1) / 2
    window: Window = (rate ** np.hypot(offset[:, None], offset)).astype(np.float32)
    window /= window.sum()
    return window


class SLayer(nn.Module):
    """(N, maps, H, W) -> (N, planes, P, Q), P = H + 2*padding - size + 1: S-cells.

    With inputs u, a plane's connections a and b, and v the root of the weighted mean of u² in the
    window, the response is (equations 1 and 2)

        r·max(0, (1 + Σ a·u) / (1 + 2r/(1 + r)·b·v) - 1)

    A plane that has learned a pattern p well responds to u if their window-weighted cosine exceeds
    r/(1 + r). excitation: (planes, maps, size, size), a. inhibition: (planes,), b. selectivity: r.
    rate: q of the learning rule. column: side of the windows in which cells compete.
    """

    def __init__(
        self,
        maps: int,
        planes: int,
        size: int,
        padding: int,
        selectivity: float,
        rate: float,
        column: int = 5,
    ) -> None:
        super().__init__()
        self.size, self.padding, self.column = size, padding, column
        self.selectivity, self.rate = selectivity, rate
        window = np.broadcast_to(falling(size, 0.9) / maps, (1, maps, size, size))
        self.register_buffer("window", tensor(window.copy()), persistent=False)
        weights = np.zeros((planes, maps, size, size), np.float32)
        self.excitation = nn.Parameter(weights, requires_grad=False)
        self.inhibition = nn.Parameter(np.zeros(planes, np.float32), requires_grad=False)
        # Small and different in every plane; otherwise all planes would learn the same.
        nn.init.uniform_(self.excitation, 0, 0.01)
        self.excitation.mul_(self.window)

    window: Tensor

    def forward(self, input: Tensor) -> Tensor:
        r = self.selectivity
        excited = F.conv2d(input, self.excitation, padding=self.padding)
        inhibited = self.energy(input) * self.inhibition.reshape(1, -1, 1, 1)
        return r * ((1 + excited) / (1 + 2 * r / (1 + r) * inhibited) - 1).relu()

    def energy(self, input: Tensor) -> Tensor:
        """v of equation 2, (N, 1, P, Q): the root of the weighted mean of squares in the window."""
        return F.conv2d(input.square(), self.window, padding=self.padding).sqrt()

    def learn(self, input: Tensor) -> Tensor:
        """The winning cells learn their patch of one pattern (1, maps, H, W); returns their number.

        With q the rate and c the window, Δa = q·c·u and Δb = q/2·v (equations 5 and 6). All cells
        of a plane share connections, so the plane then detects the feature everywhere.
        """
        strength, position = winners(self(input)[0], self.column)
        learns = (strength > 0).to(input.dtype)
        patches = F.unfold(input, self.size, padding=self.padding)[0].T[position]
        change = self.window.flatten(1) * patches * learns.unsqueeze(1)
        self.excitation.add_(change.reshape(*self.excitation.shape), alpha=self.rate)
        energy = self.energy(input).flatten()[position]
        self.inhibition.add_(energy * learns, alpha=self.rate / 2)
        return learns.sum()


def winners(answers: Tensor, column: int) -> tuple[Tensor, Tensor]:
    """(strength, position) of each plane's learning cell, both (planes,). position is row·Q +
    column; strength is 0 if no cell learns.

    In every window of column x column positions the strongest cell of all planes is a candidate;
    the strongest candidate of a plane wins. answers: (planes, P, Q).
    """
    planes, rows, columns = answers.shape
    window = min(column, rows), min(column, columns)
    top, first = F.max_pool2d(answers.amax(0)[None, None], window, stride=1, return_indices=True)
    positions = first.flatten()  # of the candidates, one per window
    candidate_planes = answers.argmax(0).flatten()[positions]
    numbers = arange(planes, device=answers.device).unsqueeze(1)
    strength = where(candidate_planes == numbers, top.flatten(), 0.0)
    return strength.amax(1), positions[strength.argmax(1)]


class CLayer(nn.Module):
    """(N, planes, H, W) -> (N, planes, extent, extent): C-cells.

    With a window d that decays from its centre, s = Σ d·u over the S-cells u of one plane and s̄
    the mean of s over all planes, the response is ψ((1 + s)/(1 + s̄) - 1), ψ(x) = max(0, x)/(½ +
    max(0, x)) (equations 3 and 4). There are fewer C-cells than S-cells; their windows are evenly
    spaced.
    """

    def __init__(self, extent: int, size: int) -> None:
        super().__init__()
        self.extent, self.size = extent, size
        window = 4 * falling(size, 0.7)[None, None]  # δ̄ of the paper, 4
        self.register_buffer("window", tensor(window), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        n, planes, height, width = input.shape
        flat = input.reshape(n * planes, 1, height, width)
        if self.extent == 1:
            gathered = flat.mean((2, 3), keepdim=True) * 4
        else:
            gathered = F.conv2d(flat, self.window, padding=self.size // 2)
            rows, columns = (_spread(length, self.extent) for length in (height, width))
            gathered = gathered[:, :, rows][:, :, :, columns]
        total = gathered.reshape(n, planes, *gathered.shape[2:])
        x = ((1 + total) / (1 + total.mean(1, keepdim=True)) - 1).relu()
        return x / (ALPHA + x)


def _spread(available: int, count: int) -> list[int]:
    """`count` evenly spaced positions from the first to the last of `available`."""
    return [int(position) for position in np.rint(np.linspace(0, available - 1, count))]


class Neocognitron(nn.Module):
    """(N, 1, 16, 16), ink 1 on paper 0 -> (N, planes): the responses of the last C-layer, one cell
    per plane. The layers have the paper's sizes: S1 16x16 · C1 10x10 · S2 8x8 · C2 6x6 · S3 2x2 ·
    C3 1x1. The paper's selectivity is 4, 1.5, 1.5 for lines one pixel wide; digits with thicker
    lines are more alike and need more. The decay of the windows is also our choice.
    """

    def __init__(
        self,
        planes: Sequence[int] = (24, 24, 24),
        selectivity: Sequence[float] = (4.0, 5.0, 3.0),
    ) -> None:
        super().__init__()
        one, two, three = planes
        self.s1 = SLayer(1, one, 5, 2, selectivity[0], rate=1.0)
        self.c1 = CLayer(10, 5)
        self.s2 = SLayer(one, two, 5, 1, selectivity[1], rate=16.0)
        self.c2 = CLayer(6, 5)
        self.s3 = SLayer(two, three, 5, 0, selectivity[2], rate=16.0, column=3)
        self.c3 = CLayer(1, 2)

    def layers(self, input: Tensor) -> dict[str, Tensor]:
        """The responses of all layers by name."""
        answers: dict[str, Tensor] = {}
        for name, layer in self.named_children():
            input = answers[name] = layer(input)
        return answers

    def forward(self, input: Tensor) -> Tensor:
        return self.layers(input)["c3"].flatten(1)

    def learn(self, patterns: Tensor, passes: int) -> dict[str, int]:
        """Train the S-layers in order, each with `passes` over the patterns (N, 1, 16, 16).

        Returns the number of planes of each layer that have learned something.
        """
        with no_grad():
            inputs = patterns
            for layer in self.children():
                if isinstance(layer, SLayer):
                    for _ in range(passes):
                        for i in range(len(inputs)):
                            layer.learn(inputs[i : i + 1])
                inputs = layer(inputs)
        return {
            name: int((layer.inhibition.numpy() > 0).sum())
            for name, layer in self.named_children()
            if isinstance(layer, SLayer)
        }
