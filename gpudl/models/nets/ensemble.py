"""Ensembles: several nets answer, and their probabilities are averaged.

Source: Hansen and Salamon, Neural Network Ensembles, IEEE Transactions on Pattern Analysis and
Machine Intelligence 12 (1990). That the average's cross entropy is at most the members' mean is
Jensen's inequality.
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
    """Input of the members -> (N, classes): the logarithm of their mean probabilities, which is
    used as logits are.

    members: nets with logits of the same classes. Raises ValueError without any.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if not len(self.members):
            raise ValueError("Ensemble: members is empty; give one net or more")

    def forward(self, input: Tensor) -> Tensor:
        logs = [F.log_softmax(member(input), 1) for member in self.members]
        return logsumexp(stack(logs), 0) - math.log(len(logs))
