"""Embedding: a lookup table of vectors."""

from __future__ import annotations

from typing import Any

from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.nn import init
from gpudl.nn.module import Module, Parameter
from gpudl.ops.index.embedding import embedding
from gpudl.ops.shape.create import empty

__all__ = ["Embedding"]


class Embedding(Module):
    """Integers (…) -> (…, embedding_dim): looks up rows of weight (num_embeddings, embedding_dim).

    weight starts standard normal; row padding_idx starts at zero and gets no gradient.
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding: padding_idx is {padding_idx}; it must be from {-num_embeddings} to "
                f"{num_embeddings - 1}"
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx if padding_idx is None else padding_idx % num_embeddings
        self.settings: dict[str, Any] = {
            "max_norm": max_norm, "scale_grad_by_freq": scale_grad_by_freq, "sparse": sparse
        }  # fmt: skip
        self.weight = Parameter(empty(num_embeddings, embedding_dim))
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    def forward(self, input: Tensor) -> Tensor:
        return embedding(input, self.weight, self.padding_idx, **self.settings)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
