"""Transfer learning: reuses the features that a net has learned for another task.

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
    """The outputs (N, …) of a net for inputs (N, …), computed in batches.

    of: the part of the model to call, such as `model.features`; None for the model. It is called
    in evaluation mode and without gradients.
    """
    device = next(model.parameters()).device
    call, was_training = of or model, model.training
    model.eval()
    try:
        with no_grad():
            outputs = [
                device.to_numpy(call(Tensor(inputs[i : i + batch_size], device=device)).array)
                for i in range(0, len(inputs), batch_size)
            ]
    finally:
        model.train(was_training)
    return np.concatenate(outputs)


def freeze(*parts: Module) -> None:
    """Stop training these parts of a net: their parameters no longer require gradients.

    Batch normalisation inside them still updates its statistics in training mode; `part.eval()`
    after `model.train()` stops that too.
    """
    for part in parts:
        part.requires_grad_(False)


def layer_groups(layers: Sequence[Module], lr: float, factor: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer, one per layer, for layers given from input to output.

    The last layer learns with `lr`, each lower one with `factor` times the rate of the layer above.
    Layers without parameters and frozen layers are left out.
    Raises ValueError if nothing is left to train.
    """
    groups = []
    for depth, layer in enumerate(reversed(list(layers))):
        params = [p for p in layer.parameters() if p.requires_grad]
        if params:
            groups.append({"params": params, "lr": lr * factor**depth})
    if not groups:
        raise ValueError("layer_groups: no layer has trainable parameters; unfreeze one")
    return groups[::-1]
