"""Our models as one would write them in PyTorch: the same layers, so that weights and times
compare."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


def lenet5(nn: Any) -> Any:
    """LeNet-5 of `gpudl.models.lenet5`, with the same names of weights. nn: torch.nn."""
    features = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    classifier = nn.Sequential(
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    return nn.Sequential(OrderedDict(features=features, classifier=classifier))


TWINS = {"lenet5": lenet5}
