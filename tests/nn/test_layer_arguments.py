"""Arguments that layers and functions share with PyTorch: device and dtype, bias, and others."""

import inspect

import numpy as np
import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl import nn

LAYERS = {
    "Linear": (2, 3), "Conv1d": (2, 4, 3), "Conv2d": (2, 4, 3), "Conv3d": (2, 4, 3),
    "ConvTranspose1d": (2, 4, 3), "ConvTranspose2d": (2, 4, 3), "ConvTranspose3d": (2, 4, 3),
    "BatchNorm1d": (4,), "BatchNorm2d": (4,), "BatchNorm3d": (4,), "GroupNorm": (2, 4),
    "LayerNorm": (4,), "RMSNorm": (4,), "Embedding": (5, 2), "PReLU": (3,), "RNN": (2, 3),
    "LSTM": (2, 3), "GRU": (2, 3), "RNNCell": (2, 3), "LSTMCell": (2, 3), "GRUCell": (2, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_made_on_a_device_with_a_dtype(name):
    layer = getattr(nn, name)(*LAYERS[name], device="meta", dtype=gpudl.float64)
    for parameter in layer.parameters():
        assert (parameter.device.name, parameter.dtype) == ("meta", np.float64)
    with pytest.raises(TypeError, match="dtype is int64; parameters hold floating-point numbers"):
        getattr(nn, name)(*LAYERS[name], dtype=gpudl.int64)


def test_all_layers_with_parameters_are_tested():
    takes = [n for n, v in vars(nn).items() if inspect.isclass(v) and takes_device(v)]
    others = {"InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "RNNBase"}
    assert set(takes) - others == set(LAYERS)


def takes_device(layer):
    return {"device", "dtype"} <= set(inspect.signature(layer).parameters)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("BatchNorm2d", (4,)), ("GroupNorm", (2, 4)), ("InstanceNorm2d", (4, 1e-5, 0.1, True))],
)
def test_normalisation_without_bias(name, arguments):
    torch = pytest.importorskip("torch")
    ours = getattr(nn, name)(*arguments, bias=False)
    theirs = getattr(torch.nn, name)(*arguments, bias=False)
    assert [n for n, _ in ours.named_parameters()] == ["weight"]
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 3)).astype(np.float32)
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours(gpudl.tensor(x)).detach().numpy(), expected, atol=1e-5)


X = np.arange(12, dtype=np.float32).reshape(3, 4)
CALLS = {
    "softmax": lambda lib, x: lib.nn.functional.softmax(x, 1, dtype=lib.float64),
    "softmin": lambda lib, x: lib.nn.functional.softmin(x, 1, dtype=lib.float64),
    "log_softmax": lambda lib, x: lib.log_softmax(x, 1, dtype=lib.float64),
    "norm": lambda lib, x: lib.norm(x, dtype=lib.float64),
    "roll": lambda lib, x: lib.roll(x, (1, -6, 1), (0, 1, 0)),
    "roll of all": lambda lib, x: lib.roll(x, 5),
    "meshgrid": lambda lib, x: lib.meshgrid([x[0], x[:, 1]], indexing="xy")[1],
    "repeat_interleave": lambda lib, x: lib.repeat_interleave(x, 2, 0, output_size=6),
    "take_along_dim": lambda lib, x: lib.take_along_dim(x, lib.tensor([[1], [0]]), 0),
    "take_along_dim, rows": lambda lib, x: lib.take_along_dim(x[:1], lib.tensor([[3], [0]]), -1),
    "take_along_dim of all": lambda lib, x: lib.take_along_dim(x, lib.tensor([7, 1])),
    "true_divide": lambda lib, x: lib.true_divide(input=x, other=3),
    "broadcast_to": lambda lib, x: lib.broadcast_to(x, size=(2, 3, 4)),
    "square of bool": lambda lib, x: lib.square(x > 5),
    "tril of bool": lambda lib, x: lib.tril(x > 2),
    "triu of bool": lambda lib, x: lib.triu(x > 2),
    "prod as bool": lambda lib, x: lib.prod(x, 1, dtype=lib.tensor(True).dtype),
    "prod as int8": lambda lib, x: lib.prod(x[0], 0, dtype=lib.int8),
    "sum as int8": lambda lib, x: lib.sum(x[0], 0, dtype=lib.int8),
    "cumsum as int8": lambda lib, x: lib.cumsum(x[0], 0, dtype=lib.int8),
    "arange of int64": lambda lib, x: lib.arange(0.5, 4.1, 2.9, dtype=lib.int64),
    "nonzero of a scalar": lambda lib, x: lib.nonzero(x[0, 1]),
    "nonzero of zero": lambda lib, x: lib.nonzero(x[0, 0]),
    "pixel_shuffle of nothing": lambda lib, x: lib.nn.functional.pixel_shuffle(
        lib.ones(2, 4, 0, 3), 2
    ),
    "multi_margin_loss": lambda lib, x: lib.nn.functional.multi_margin_loss(
        x, lib.tensor([0, 3, 1]), margin=-1.5, reduction="none"
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_gives_pytorchs_result(name):
    torch = pytest.importorskip("torch")
    ours, theirs = CALLS[name](gpudl, gpudl.tensor(X)), CALLS[name](torch, torch.tensor(X))
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.numpy().dtype)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_wrong_values_are_refused():
    x = gpudl.tensor(X)
    with pytest.raises(ValueError, match="antialias is not supported"):
        F.interpolate(x.reshape(1, 1, 3, 4), 2, mode="bilinear", antialias=True)
    with pytest.raises(ValueError, match="output_size is 7; the repeats give 6"):
        gpudl.repeat_interleave(x, 2, 0, output_size=7)
    with pytest.raises(ValueError, match="got 2 shifts for 1 dims"):
        gpudl.roll(x, (1, 2), 0)


def test_a_scalar_of_truth_is_an_array():
    assert np.asarray(gpudl.tensor([1, 1]).all()).tolist() is True
