"""Local response normalisation, from AlexNet."""

from __future__ import annotations

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module
from gpudl.ops.norm.local_response import local_response_norm

__all__ = ["LocalResponseNorm"]


class LocalResponseNorm(Module):
    """y = x/(k + alpha/size · Σ x²)^beta, with the sum over `size` neighbouring channels.

    Source: Krizhevsky, Sutskever and Hinton (2012), section 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
