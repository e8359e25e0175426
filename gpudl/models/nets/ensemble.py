"""Ensembles: the average of the probabilities of several nets.

Source: Hansen and Salamon, Neural Network Ensembles, IEEE Transactions on Pattern Analysis and
Machine Intelligence 12 (1990). By Jensen's inequality the ensemble's cross-entropy is at most the
mean of the members'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.nn import functional as F
from gpudl.ops.reduce.moments import logsumexp
from gpudl.ops.shape.joining import stack


class Ensemble(nn.Module):
    """The members' input -> (N, classes): the log of their mean probabilities, usable as logits.

    members: nets with logits of the same classes. Raises ValueError if there are none.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if not len(self.members):
            raise ValueError("Ensemble: members is empty; give one net or more")

    def forward(self, input: Tensor) -> Tensor:
        log_probabilities = [F.log_softmax(member(input), 1) for member in self.members]
        return logsumexp(stack(log_probabilities), 0) - math.log(len(log_probabilities))
