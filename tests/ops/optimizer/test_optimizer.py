"""The in-place NumPy updates give the same bits as the definition, over several pieces."""

from __future__ import annotations

import numpy as np
import pytest

from gpudl.ops.optimizer import base as optimizer_base
from gpudl.ops.optimizer.adam import AdamOp
from gpudl.ops.optimizer.rules import SgdOp

ADAM = (0.9, 0.1, 0.99, 0.01, 0.3, 0.5, 1e-3)  # from decay on
RULES = [
    (SgdOp.of(), (0.1, 0, 0.3, 0.9, 1, 0), 0),
    (SgdOp.of(), (0.1, 0, 0.3, 0.9, 0.5, 0), 1),
    (SgdOp.of(), (0, 0, 0.3, 0.9, 0.5, 1), 1),
    (SgdOp.of(False, True), (0.1, 0, 0.3, 0.9, 1, 0), 1),
    (AdamOp.of(), (0.1, 0, *ADAM), 2),
    (AdamOp.of(), (0, 0, 1, *ADAM[1:]), 3),
]


@pytest.mark.parametrize(("op", "hyper", "states"), RULES)
def test_in_place_gives_the_same_bits(op, hyper, states, monkeypatch):
    monkeypatch.setattr(optimizer_base, "CHUNK", 100)
    case = op.drawn(op, hyper, 250, states)
    want, got = (list(case.make(np.random.default_rng(1))) for _ in range(2))
    op.forward(np, *want)
    refused = lambda *arrays: pytest.fail("ran the definition")  # noqa: E731
    monkeypatch.setattr(type(op), "change", refused)
    op.forward_chunked(np, *got)
    for name, a, b in zip(op.inputs, got, want, strict=True):
        if a is not None:
            np.testing.assert_array_equal(a, b, err_msg=name)
