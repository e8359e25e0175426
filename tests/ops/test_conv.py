"""The function conv2d: what it adds to its operator, which is tested from its declaration."""

from __future__ import annotations

import numpy as np
import pytest

from gpudl.nn.functional import conv2d
from gpudl.ops import conv
from gpudl.tensor import Tensor
from tests.ops import harness as h


def tensors(x=(2, 4, 7, 8), weight=(6, 4, 3, 3), bias=True):
    rng = np.random.default_rng(0)
    shapes = [x, weight, weight[:1]][: 2 + bias]
    return [Tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True) for s in shapes]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"stride": 2, "padding": 1},
        {"stride": (1, 2), "padding": (0, 1), "dilation": (2, 1)},
        {"padding": "valid"},
        {"padding": "same"},
        {"padding": "same", "dilation": (1, 3)},
    ],
    ids=str,
)
@pytest.mark.parametrize("window", [(3, 3), (2, 3), (4, 2)], ids=str)
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_agrees_with_pytorch(arguments, window):
    torch = pytest.importorskip("torch")
    mine = tensors(weight=(6, 4, *window))
    theirs = [torch.tensor(t.numpy(), requires_grad=True) for t in map(Tensor.detach, mine)]
    y = conv2d(*mine, **arguments)
    expected = torch.nn.functional.conv2d(*theirs, **arguments)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), atol=2e-5)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    y.backward(Tensor(dy))
    expected.backward(torch.tensor(dy))
    for ours, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), atol=1e-4)


def test_without_bias():
    x, weight = tensors(bias=False)
    assert conv2d(x, weight).shape == (2, 6, 5, 6)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"stride": (1, 2, 3)}, r"conv2d: stride is \(1, 2, 3\); it must be an int or a pair"),
        ({"dilation": 1.5}, "conv2d: dilation is 1.5"),
        ({"padding": "full"}, 'conv2d: padding is \'full\'; it must be .* "same" or "valid"'),
        ({"padding": "same", "stride": 2}, 'padding="same" needs stride 1'),
    ],
)
def test_refuses(arguments, error):
    with pytest.raises(ValueError, match=error):
        conv2d(*tensors(), **arguments)


@pytest.mark.parametrize("where", h.native_devices())
@pytest.mark.parametrize("groups", [1, 2])
def test_images_are_taken_in_parts_where_the_workspace_is_small(where, groups, monkeypatch):
    """Five images, columns of two at a time."""
    where = h.native(where)
    rng = np.random.default_rng(0)
    shapes = [(5, 4, 6, 5), (6, 4 // groups, 3, 3), (6,)]
    arrays = tuple(where.asarray(rng.standard_normal(s).astype(np.float32)) for s in shapes)
    specs = h.specs_of(arrays)
    dy = where.asarray(rng.standard_normal((5, 6, 6, 5)).astype(np.float32))
    results = []
    for images in (5, 2):
        monkeypatch.setattr(conv, "MAX_COLUMNS", images * 6 * 5 * 4 * 9)
        monkeypatch.setattr(conv, "gemm_workspace", lambda *extents: 0)
        op = conv.Conv2dOp(
            (1, 1), (1, 1), (1, 1), groups
        )  # a new one, which has planned nothing yet
        with h.guarded(where):
            (y,) = where.forward(op, specs, arrays, "im2col")
            saved = op.save(arrays, (y,), specs)
            grads = where.backward(op, (dy,), saved, (True, True, True), "im2col")
        results.append([where.to_numpy(a) for a in (y, *grads)])
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", h.native_devices())
@pytest.mark.parametrize(
    ("channels", "groups", "chosen"),
    [((1, 8), 1, "direct"), ((32, 32), 1, "im2col"), ((32, 32), 32, "direct")],
)
def test_few_channels_take_the_direct_kernel(where, channels, groups, chosen):
    c, k = channels
    op = conv.Conv2dOp.of((1, 1), (1, 1), (1, 1), groups)
    shapes = [(1, c, 4, 4), (k, c // groups, 3, 3)]
    specs = (*(h.Spec(s, np.dtype(np.float32)) for s in shapes), None)
    for direction in ("forward", "backward"):
        assert h.native(where).candidates(op, direction, specs)[0].algorithm == chosen
