"""Convolutional nets for sequences: dilated causal convolutions as a language model (van den Oord
et al., WaveNet, 2016; Bai, Kolter and Koltun 2018), and classifiers of texts and other sequences
of any length (Kim, EMNLP 2014; Collobert and Weston, ICML 2008)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.char_rnn import CHARACTERS, language_model
from gpudl.models.registry import register
from gpudl.ops.index.slices import masked_fill
from gpudl.ops.shape.create import full
from gpudl.ops.shape.joining import cat

PADDING = -1.0  # first component of the padding vectors after a sequence's end
FLOOR = -1e30  # below every feature, so that padding is never the maximum


class CharConv(nn.Module):
    """(N, T) int64 codes -> (N, T, vocabulary) logits of the next character, for any T.

    Convolution i sees the current step and the one 2^i earlier, so the prediction depends on the
    current and `reach` earlier characters. The state is the last `reach` characters, the context of
    the next window.
    """

    def __init__(
        self, vocabulary: int, hidden: int = 128, layers: int = 5, embedding: int = 64
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.convolutions = nn.ModuleList(
            [
                nn.Conv1d(embedding if i == 0 else hidden, hidden, 2, dilation=2**i)
                for i in range(layers)
            ]
        )
        self.head = nn.Linear(hidden, vocabulary)
        self.reach = 2**layers - 1

    def forward(self, codes: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if state is None:  # a text starts after code 0, the line break
            state = full((len(codes), self.reach), 0, dtype=codes.dtype, device=codes.device)
        seen = cat([state, codes], 1)
        x = self.embedding(seen).transpose(1, 2)
        for convolution in self.convolutions:
            y = convolution(x).relu()
            x = y + x[:, :, -y.shape[2] :] if x.shape[1] == y.shape[1] else y
        return self.head(x.transpose(1, 2)), seen[:, -self.reach :]


class SequenceConv(nn.Module):
    """(N, T, features) sequences of vectors -> (N, num_classes) logits, for any T.

    Convolutions of odd width `kernel`, then the maximum of each feature over the sequence. Steps
    whose first component is PADDING are masked in every layer, so padding changes nothing.
    """

    def __init__(
        self, features: int, num_classes: int, channels: Sequence[int] = (64, 64), kernel: int = 5
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"SequenceConv: kernel is {kernel}; it must be odd, such as 3 or 5")
        widths = (features, *channels)
        self.convolutions = nn.ModuleList(
            [
                nn.Conv1d(before, after, kernel, padding=kernel // 2)
                for before, after in pairwise(widths)
            ]
        )
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, input: Tensor) -> Tensor:
        outside = (input[:, :, 0] == PADDING).unsqueeze(1)
        return self.read(masked_fill(input.transpose(1, 2), outside, 0.0), outside)

    def read(self, x: Tensor, outside: Tensor) -> Tensor:
        """Logits of (N, features, T). outside: bool (N, 1, T), True for padding."""
        for convolution in self.convolutions:
            x = masked_fill(convolution(x).relu(), outside, 0.0)
        return self.head(masked_fill(x, outside, FLOOR).amax(2))


class TextConv(SequenceConv):
    """(N, T) int64 codes, padded at the end with `vocabulary` -> (N, num_classes) logits.

    A SequenceConv over embedded characters.
    """

    def __init__(
        self,
        vocabulary: int,
        num_classes: int,
        channels: Sequence[int] = (64, 64),
        kernel: int = 5,
        embedding: int = 32,
    ) -> None:
        super().__init__(embedding, num_classes, channels, kernel)
        self.padding = vocabulary
        self.embedding = nn.Embedding(vocabulary + 1, embedding, padding_idx=vocabulary)

    def forward(self, codes: Tensor) -> Tensor:
        outside = (codes == self.padding).unsqueeze(1)
        return self.read(self.embedding(codes).transpose(1, 2), outside)


class TextRNN(nn.Module):
    """TextConv with a bidirectional LSTM: the maximum of each state over the text."""

    def __init__(
        self, vocabulary: int, num_classes: int, hidden: int = 64, embedding: int = 32
    ) -> None:
        super().__init__()
        self.padding = vocabulary
        self.embedding = nn.Embedding(vocabulary + 1, embedding, padding_idx=vocabulary)
        self.rnn = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, num_classes)

    def forward(self, codes: Tensor) -> Tensor:
        outside = codes == self.padding
        states, _ = self.rnn(self.embedding(codes), lengths=(~outside).sum(1))
        return self.head(masked_fill(states, outside.unsqueeze(2), FLOOR).amax(1))


@language_model("Bai, Kolter and Koltun, arXiv:1803.01271", 2018)
def char_conv(
    vocabulary: int = CHARACTERS, hidden: int = 128, layers: int = 5, embedding: int = 64
) -> CharConv:
    """A character-level language model of dilated causal convolutions"""
    return CharConv(vocabulary, hidden, layers, embedding)


TEXTS = {"epochs": 4, "batch_size": 64, "lr": 2e-3}


@register(
    input_shape=(80,),
    dataset="tiny-shakespeare",
    source="Kim, EMNLP 2014",
    year=2014,
    training=TEXTS,
    task="text-classification",
)
def text_conv(
    vocabulary: int = CHARACTERS,
    num_classes: int = 2,
    channels: Sequence[int] = (64, 64),
    kernel: int = 5,
    embedding: int = 32,
) -> TextConv:
    """Classifies texts by character: convolutions and the maximum of each feature"""
    return TextConv(vocabulary, num_classes, channels, kernel, embedding)


@register(
    input_shape=(80,),
    dataset="tiny-shakespeare",
    source="Graves and Schmidhuber, Neural Networks 18",
    year=2005,
    training=TEXTS,
    task="text-classification",
)
def text_rnn(
    vocabulary: int = CHARACTERS, num_classes: int = 2, hidden: int = 64, embedding: int = 32
) -> TextRNN:
    """Classifies texts by character: a bidirectional LSTM and the maximum of each state"""
    return TextRNN(vocabulary, num_classes, hidden, embedding)
