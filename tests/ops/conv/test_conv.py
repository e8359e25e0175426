"""Functions and layers of convolution, beyond what tests/ops/test_all.py derives from the
declarations."""

from __future__ import annotations

import numpy as np
import pytest

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.core.machine import H100
from gpudl.nn import functional
from gpudl.nn.functional import conv2d
from gpudl.ops.conv import conv
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


TWINS = {
    "conv1d": ((2, 4, 11), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    "conv3d": ((1, 2, 5, 4, 6), (3, 2, 2, 3, 3), {"padding": "same", "dilation": (1, 1, 2)}),
    "conv_transpose1d": ((2, 4, 5), (4, 3, 4), {"stride": 3, "output_padding": 1}),
    "conv_transpose2d": (
        (2, 4, 5, 3), (4, 3, 4, 3),
        {"stride": (2, 1), "padding": 1, "output_padding": (1, 0), "groups": 2, "dilation": (1, 2)},
    ),
    "conv_transpose3d": ((1, 3, 2, 3, 2), (3, 2, 3, 2, 2), {"stride": 2}),
}  # fmt: skip


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("name", TWINS)
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_other_functions_agree_with_pytorch(name, batched):
    torch = pytest.importorskip("torch")
    x, weight, arguments = TWINS[name]
    x = x if batched else x[1:]
    mine = tensors(x, weight, bias=False)
    theirs = [torch.tensor(t.detach().numpy(), requires_grad=True) for t in mine]
    y = getattr(functional, name)(*mine, **arguments)
    expected = getattr(torch.nn.functional, name)(*theirs, **arguments)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), atol=2e-5)
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    for ours, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), atol=1e-3, rtol=1e-4)


def test_padding_may_differ_before_and_after():
    x, weight = tensors(bias=False)
    padded = functional.pad(x, (3, 0, 1, 2))
    same = conv2d(x, weight, padding=((1, 2), (3, 0)))
    np.testing.assert_allclose(same.detach().numpy(), conv2d(padded, weight).detach().numpy())
    y = functional.conv_transpose2d(x, weight.detach().swapaxes(0, 1), padding=((1, 0), 0))
    whole = functional.conv_transpose2d(x, weight.detach().swapaxes(0, 1))
    np.testing.assert_allclose(y.detach().numpy(), whole.detach().numpy()[:, :, 1:], atol=1e-6)


def test_fused_convolution_relu_and_pooling():
    x, weight, bias = tensors((2, 4, 9, 8))
    fused = functional.conv_relu_max_pool2d(x, weight, bias, padding="same", pool=(2, 3))
    z = functional.relu(conv2d(x, weight, bias, padding="same"))
    np.testing.assert_allclose(
        fused.detach().numpy(), functional.max_pool2d(z, (2, 3)).detach().numpy(), atol=1e-5
    )


def test_batch_norm_folds_into_scale_and_bias():
    """relu(bn(conv(x)) + residual) as one operator, with all gradients."""
    x, weight = tensors(bias=False)
    rng = np.random.default_rng(1)
    make = lambda *s: Tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True)  # noqa: E731
    scale, shift, residual = make(6), make(6), make(2, 6, 5, 6)
    fused = conv2d(x, weight, shift, scale=scale, residual=residual, activation="relu")
    shaped = scale.reshape(6, 1, 1), shift.reshape(6, 1, 1)
    plain = functional.relu(conv2d(x, weight) * shaped[0] + shaped[1] + residual)
    np.testing.assert_allclose(fused.detach().numpy(), plain.detach().numpy(), atol=1e-5)
    inputs = (x, weight, scale, shift, residual)
    grads = []
    for y in (fused, plain):
        for t in inputs:
            t.grad = None
        (y * y).sum().backward()
        grads.append([t.grad.numpy() for t in inputs])
    for ours, other in zip(*grads, strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-3, rtol=1e-4)
    with pytest.raises(ValueError, match=r"conv2d: scale has shape \(5,\); it must be \(6,\)"):
        conv2d(x, weight, scale=make(5))


LAYERS = {
    "Conv1d": ((4, 6, 3), {"stride": 2, "padding_mode": "circular", "padding": 2}, (2, 4, 9)),
    "Conv2d": ((4, 6, (3, 2)), {"padding": "same", "padding_mode": "reflect"}, (2, 4, 6, 5)),
    "Conv3d": ((4, 6, 2), {"padding": (1, 0, 1), "padding_mode": "replicate"}, (4, 3, 4, 3)),
    "ConvTranspose1d": ((4, 6, 3), {"stride": 2, "groups": 2, "bias": False}, (2, 4, 5)),
    "ConvTranspose2d": ((4, 6, 3, 2, 1), {"dilation": 2}, (2, 4, 5, 3)),
    "ConvTranspose3d": ((4, 6, 2), {"stride": (1, 2, 1), "padding": 1}, (2, 4, 3, 3, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_layers_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    positional, named, shape = LAYERS[name]
    theirs = getattr(torch.nn, name)(*positional, **named)
    ours = getattr(nn, name)(*positional, **named)
    assert repr(ours) == repr(theirs)
    largest = [float(layer.weight.detach().max()) for layer in (ours, theirs)]
    assert 0.5 < largest[0] / largest[1] < 2  # initialised in the same range
    ours.load_state_dict({n: t.detach().numpy() for n, t in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y, expected = ours(Tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), atol=1e-5)


def test_a_transposed_layer_returns_the_requested_size():
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    x = Tensor(np.zeros((1, 2, 4, 5), np.float32))
    assert layer(x, output_size=(8, 9)).shape == (1, 3, 8, 9)
    assert layer(x, output_size=(1, 3, 7, 10)).shape == (1, 3, 7, 10)
    with pytest.raises(ValueError, match=r"output_size is \(9, 9\); .* from \(7, 9\) to \(8, 10\)"):
        layer(x, output_size=(9, 9))


def test_layers_refuse():
    with pytest.raises(ValueError, match=r"Conv1d: groups=2 must divide in_channels=3"):
        nn.Conv1d(3, 4, 1, groups=2)
    with pytest.raises(ValueError, match=r"Conv2d: padding_mode 'mirror' must be one of"):
        nn.Conv2d(3, 4, 1, padding_mode="mirror")
    with pytest.raises(ValueError, match=r"padding_mode is 'circular'; it must be"):
        nn.ConvTranspose1d(3, 4, 1, padding_mode="circular")


def test_without_bias():
    x, weight = tensors(bias=False)
    assert conv2d(x, weight).shape == (2, 6, 5, 6)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"stride": (1, 2, 3)}, r"conv2d: stride is \(1, 2, 3\); it must be an int or a pair"),
        ({"stride": (0, 1)}, r"conv2d: stride is \(0, 1\)"),
        ({"groups": 0}, r"conv2d: groups is 0"),
        ({"padding": (0, -1)}, r"conv2d: padding is \(0, -1\)"),
        ({"padding": ((0, -1), 1)}, r"conv2d: padding is \(-1, 1\) at the end of x"),
        ({"padding": ((0, 1),)}, r"it must have 2 entries, each an int or a pair"),
        ({"padding": 2**30, "stride": 2**20}, r"conv2d: x and its padding extend over 2147483656"),
        ({"activation": "swish"}, r"conv2d: activation is 'swish'"),
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
def test_a_small_workspace_splits_the_batch(where, groups, monkeypatch):
    """Five images, with columns for two at a time."""
    where = h.native(where)
    rng = np.random.default_rng(0)
    shapes = [(5, 4, 6, 5), (6, 4 // groups, 3, 3), (6,)]
    drawn = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    arrays = (*map(where.asarray, drawn), None)
    specs = h.specs_of(arrays)
    dy = where.asarray(rng.standard_normal((5, 6, 6, 5)).astype(np.float32))
    results = []
    for images in (5, 2):
        columns = images * 6 * 5 * 4 * 9
        for direction in ("forward", "backward"):
            name = f"conv2d_{direction}_im2col"
            small = where.launchers[name]._replace(workspace=lambda *_, n=columns: n)
            monkeypatch.setitem(where.launchers, name, small)
        op = conv.Conv2dOp((1, 1), (1, 1), (1, 1), groups)  # new, without cached plans
        with h.guarded(where):
            (y,) = where.forward(op, specs, arrays, "im2col")
            saved = op.save(arrays, (y,), specs)
            grads = where.backward(op, (dy,), saved, (True, True, True, False), "im2col")
        results.append([where.to_numpy(a) for a in (y, *grads[:3])])
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)


GPU_CHOICES = {
    "first layer": (((64, 1, 28, 28), (6, 1, 5, 5), 1), "highest", "direct"),
    "depthwise": (((32, 96, 56, 56), (96, 1, 3, 3), 96), "highest", "direct"),
    "large": (((32, 256, 28, 28), (256, 256, 3, 3), 1), "highest", "implicit_mma_tf32x3"),
    "large, TF32": (((32, 256, 28, 28), (256, 256, 3, 3), 1), "high", "implicit_mma_tf32"),
}


@h.needs_emulator
@pytest.mark.parametrize("name", GPU_CHOICES)
def test_predicted_times_choose_the_kernel_on_a_gpu(name):
    (x, weight, groups), precision, chosen = GPU_CHOICES[name]
    op = conv.Conv2dOp.of((1, 1), (1, 1), (1, 1), groups)
    specs = (*(h.Spec(s, np.dtype(np.float32)) for s in (x, weight)), None, None)
    emulator = h.native("emulator")
    known = tuple(k for k in emulator.kernels(op, "forward") if emulator.takes(op, k, specs))
    order = op.prefer(H100, precision, known, *specs)
    assert order[0].algorithm == chosen
    assert sorted(order) == sorted(known)


@pytest.mark.parametrize("where", h.native_devices())
@pytest.mark.parametrize(
    ("channels", "groups", "chosen"),
    [((1, 8), 1, "direct"), ((32, 32), 1, "im2col"), ((32, 32), 32, "direct")],
)
def test_groups_of_few_channels_use_the_direct_kernel(where, channels, groups, chosen):
    c, k = channels
    op = conv.Conv2dOp.of((1, 1), (1, 1), (1, 1), groups)
    shapes = [(1, c, 4, 4), (k, c // groups, 3, 3)]
    specs = (*(h.Spec(s, np.dtype(np.float32)) for s in shapes), None, None)
    for direction in ("forward", "backward"):
        assert h.native(where).candidates(op, direction, specs)[0].algorithm == chosen


@pytest.mark.parametrize("where", h.native_devices())
@pytest.mark.parametrize("channels", [8, 16])
def test_short_sums_are_not_split(where, channels):
    """Below 96 terms split products may be less accurate than a float32 loop: docs/precision.md."""
    device, op = h.native(where), conv.Conv2dOp.of((1, 1), (1, 1), (1, 1), 1)
    rng = np.random.default_rng(0)
    shapes = (1, channels, 6, 6), (12, channels, 3, 3)
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    arrays = h.copies(device, op, (x, weight, None, None))
    loop, split = (
        device.to_numpy(device.forward(op, h.specs_of(arrays), arrays, algorithm)[0])
        for algorithm in ("implicit_gemm", "implicit_mma_tf32x3")
    )
    assert (loop == split).all() == (9 * channels < 96)
