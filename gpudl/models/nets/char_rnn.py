"""Character-level language models: recurrent layers between an embedding and a linear layer, as in
Karpathy's char-rnn (2015). Elman, Finding Structure in Time, Cognitive Science 14 (1990);
Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9 (1997); Cho et al., EMNLP
2014."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.registry import B, register

LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
CHARACTERS, WINDOW = 65, 64


class CharRNN(nn.Module):
    """(N, T) int64 codes -> (N, T, vocabulary) logits of the next character, and the final state.

    cell: "rnn", "lstm" or "gru". embedding: features of a character.
    """

    def __init__(
        self,
        vocabulary: int,
        cell: str = "lstm",
        hidden: int = 128,
        layers: int = 1,
        embedding: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in LAYERS:
            raise ValueError(f"CharRNN: cell is {cell!r}; it must be one of {', '.join(LAYERS)}")
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.rnn = LAYERS[cell](embedding, hidden, layers, batch_first=True, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, codes: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        hidden, state = self.rnn(self.embedding(codes), state)
        return self.head(self.dropout(hidden)), state


def language_model(source: str, year: int, lr: float = 3e-3) -> Callable[[B], B]:
    """Registers a character-level language model."""
    return register(
        input_shape=(WINDOW,),
        dataset="tiny-shakespeare",
        source=source,
        year=year,
        training={"epochs": 3, "batch_size": 32, "lr": lr},
        task="language",
    )


@language_model("Elman, Cognitive Science 14", 1990, lr=2e-3)
def char_rnn(
    vocabulary: int = CHARACTERS,
    hidden: int = 128,
    layers: int = 1,
    embedding: int = 64,
    dropout: float = 0.0,
) -> CharRNN:
    """Elman's recurrent net as a character-level language model"""
    return CharRNN(vocabulary, "rnn", hidden, layers, embedding, dropout)


@language_model("Hochreiter and Schmidhuber, Neural Computation 9", 1997)
def char_lstm(
    vocabulary: int = CHARACTERS,
    hidden: int = 128,
    layers: int = 1,
    embedding: int = 64,
    dropout: float = 0.0,
) -> CharRNN:
    """A long short-term memory as a character-level language model"""
    return CharRNN(vocabulary, "lstm", hidden, layers, embedding, dropout)


@language_model("Cho et al., EMNLP 2014", 2014)
def char_gru(
    vocabulary: int = CHARACTERS,
    hidden: int = 128,
    layers: int = 1,
    embedding: int = 64,
    dropout: float = 0.0,
) -> CharRNN:
    """Gated recurrent units as a character-level language model"""
    return CharRNN(vocabulary, "gru", hidden, layers, embedding, dropout)
