"""Transfer learning: what a net has learned on one task serves another.

Source: Yosinski, Clune, Bengio and Lipson, How transferable are features in deep neural networks?,
NIPS 2014; smaller steps in lower layers: Howard and Ruder, ACL 2018, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module

Array = np.ndarray[Any, Any]


def features(
    model: Module,
    inputs: Array,
    of: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 256,
) -> Array:
    """What the net makes of inputs (N, …), computed in batches: (N, …).

    of: the part of the model to call, such as `model.features`; None: the model. It is called in
    evaluation mode and without gradients.
    """
    device = next(model.parameters()).device
    call, was_training = of or model, model.training
    model.eval()
    try:
        with no_grad():
            made = [
                device.to_numpy(call(Tensor(inputs[i : i + batch_size], device=device)).array)
                for i in range(0, len(inputs), batch_size)
            ]
    finally:
        model.train(was_training)
    return np.concatenate(made)


def freeze(*parts: Module) -> None:
    """These parts of a net learn no more: their parameters need no gradient.

    Batch normalisation inside them still follows the batches in training mode; `part.eval()` after
    `model.train()` stops that too.
    """
    for part in parts:
        part.requires_grad_(False)


def layer_groups(layers: Sequence[Module], lr: float, factor: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer, one a layer, given from the input to the output.

    The last learns with `lr`, each one below with `factor` times the rate of the one above. Layers
    without parameters, and frozen ones, are left away.
    Raises ValueError where nothing is left to train.
    """
    groups = []
    for height, layer in enumerate(reversed(list(layers))):
        params = [p for p in layer.parameters() if p.requires_grad]
        if params:
            groups.append({"params": params, "lr": lr * factor**height})
    if not groups:
        raise ValueError("layer_groups: no layer has parameters that learn; unfreeze one")
    return groups[::-1]
