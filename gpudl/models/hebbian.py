"""Linear neurons that learn by themselves from what they see, without labels and gradients.

Hebb: a connection grows when both its ends are active together (D. O. Hebb, The Organization of
Behavior, 1949). Oja: growth is balanced by forgetting, so that the weight vector tends to the first
principal component (E. Oja, A simplified neuron model as a principal component analyzer, Journal of
Mathematical Biology 15, 1982, equation 3). Sanger: neuron k learns from what neurons 1 to k - 1
leave over, so that the rows tend to the first components in order (T. D. Sanger, Optimal
unsupervised learning in a single-layer linear feedforward neural network, Neural Networks 2, 1989).
"""

from __future__ import annotations

import numpy as np

from gpudl import nn, no_grad
from gpudl.tensor import Tensor

RULES = ("hebb", "oja", "sanger")


class LinearNeurons(nn.Module):
    """(N, inputs) -> (N, units): y = W x. Inputs should have mean 0.

    weight: (units, inputs), rows of length 1 in random directions at the start.
    """

    def __init__(self, inputs: int, units: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(np.zeros((units, inputs), np.float32), requires_grad=False)
        nn.init.normal_(self.weight)
        self.weight.div_(self.weight.norm(dim=1, keepdim=True))

    def forward(self, input: Tensor) -> Tensor:
        return input @ self.weight.T

    def learn(self, input: Tensor, lr: float, rule: str = "oja") -> Tensor:
        """One update with the mean over a batch; returns the outputs before it.

        With outputs y of an input x, the weights W change by lr times
        hebb    y xᵀ
        oja     y xᵀ - diag(y²) W       every neuron alone: all find the same component
        sanger  y xᵀ - tril(y yᵀ) W
        """
        if rule not in RULES:
            raise ValueError(f"LinearNeurons.learn: rule: {rule!r}, expected one of {RULES}")
        with no_grad():
            output = self(input)
            change = output.T @ input
            products = output.T @ output
            if rule == "oja":
                change = change - products.diagonal().unsqueeze(1) * self.weight
            elif rule == "sanger":
                change = change - products.tril() @ self.weight
            self.weight.add_(change, alpha=lr / len(input))
            return output  # type: ignore[no-any-return]
