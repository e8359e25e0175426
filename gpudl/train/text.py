"""Text that a language model writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.data.text import decode, encode
from gpudl.train.checkpoint import to_numpy
from gpudl.train.objective import evaluation_mode


def continue_text(
    model: Any,
    classes: Sequence[str],
    prompt: str,
    length: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> str:
    """The prompt and `length` characters more, each drawn from what the model expects next.

    classes: the characters that the model knows. temperature: logits are divided by it; 0 takes
    the likeliest. The same for the same seed. Raises ValueError for an empty prompt or one with
    unknown characters.
    """
    if not prompt:
        raise ValueError("continue_text: prompt: is empty; give a character or more")
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
    """A number below len(logits), by inverting the cumulative distribution."""
    if temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    cumulative = weights.cumsum()
    place = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return min(place, len(logits) - 1)  # the product may round up to the last sum
