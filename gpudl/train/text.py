"""Text written by a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.data.text import decode, encode
from gpudl.train.checkpoint import to_numpy
from gpudl.train.metrics import require_numbers
from gpudl.train.objective import evaluation_mode


def continue_text(
    model: Any,
    classes: Sequence[str],
    prompt: str,
    length: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> str:
    """The prompt and `length` more characters, each drawn from the model's prediction.

    classes: the characters known to the model. temperature: divides the logits; 0 takes the most
    likely character. The same seed gives the same text. Raises ValueError for an empty prompt, a
    negative temperature or unknown characters.
    """
    if not prompt:
        raise ValueError("continue_text: prompt: is empty; give at least one character")
    if not temperature >= 0:
        raise ValueError(f"continue_text: temperature: {temperature}; give 0 or more")
    device = next(model.parameters()).device
    rng = np.random.Generator(np.random.Philox(seed))
    codes, state = encode(prompt, tuple(classes)), None
    written = []
    with evaluation_mode(model):
        for _ in range(length):
            logits, state = model(Tensor(codes[None], device=device), state)
            codes = np.array([_draw(to_numpy(logits)[0, -1], temperature, rng.random())])
            written.append(codes[0])
    return prompt + decode(np.array(written, np.int64), tuple(classes))


def _draw(logits: np.ndarray[Any, Any], temperature: float, uniform: float) -> int:
    """An index drawn by inverting the cumulative distribution."""
    require_numbers(logits, "continue_text")
    if temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    cumulative = weights.cumsum()
    index = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return min(index, len(logits) - 1)  # the product may round up to the last sum
