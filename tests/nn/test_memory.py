"""The memory of parameters: tensors that share it continue to share it wherever they do in
PyTorch."""

import copy

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.core.layout import channels_last, is_dense
from gpudl.nn import init
from tests.ops.harness import native_devices

LAYERS = {
    "conv": lambda: nn.Conv2d(3, 4, 2),
    "linear": lambda: nn.Linear(3, 4),
    "norm": lambda: nn.BatchNorm2d(3),
    "lstm": lambda: nn.LSTM(3, 4),
    "embedding": lambda: nn.Embedding(3, 4),
    "recurrent cell": lambda: nn.GRUCell(3, 4),
    "prelu": lambda: nn.PReLU(),
    "locally connected": lambda: nn.LocallyConnected2d(3, 4, 5, 2),
}
layers = pytest.mark.parametrize("layer", LAYERS)
native = pytest.mark.parametrize("where", native_devices())


def memory(net):
    return [t.array for t in (*net.parameters(), *net.buffers())]


@layers
def test_loading_and_resetting_happen_in_place(layer):
    net, other = LAYERS[layer](), LAYERS[layer]()
    before, aliases = memory(net), net.state_dict()
    net.load_state_dict({k: np.asarray(v) + 1 for k, v in other.state_dict().items()})
    for name, alias in aliases.items():
        np.testing.assert_array_equal(
            np.asarray(alias), np.asarray(other.state_dict()[name]) + 1, err_msg=name
        )
    if hasattr(net, "reset_parameters"):
        net.reset_parameters()
    net.to("cpu").float().zero_grad(set_to_none=False)
    assert all(a is b for a, b in zip(memory(net), before, strict=True))
    for name, alias in aliases.items():
        assert alias.tolist() == net.state_dict()[name].tolist(), name


@pytest.mark.parametrize(
    "fill",
    [
        init.zeros_, init.ones_, init.uniform_, init.normal_, init.xavier_uniform_,
        init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_,
        lambda t: init.constant_(t, 2.0),
        lambda t: t.copy_(gpudl.ones(4, 3)),
    ],
)  # fmt: skip
def test_initialisation_happens_in_place(fill):
    p = nn.Parameter(gpudl.full((4, 3), 7.0))
    alias = p.detach()
    with gpudl.no_grad():
        fill(p)
    assert alias.tolist() == p.tolist() != [[7.0] * 3] * 4


def test_gradients_are_zeroed_in_place_and_backward_notices():
    net = nn.Linear(2, 1)
    net(gpudl.ones(1, 2)).sum().backward()
    gradient = net.weight.grad
    version = gradient._version
    net.zero_grad(set_to_none=False)
    assert net.weight.grad is gradient
    assert gradient.tolist() == [[0.0, 0.0]]
    assert gradient._version == version + 1


@native
def test_moving_a_model_keeps_its_old_memory_unchanged(where):
    net = nn.Linear(2, 3)
    left = net.state_dict()["weight"]
    before = left.tolist()
    net.to(where)
    net.weight.array[...] = 5
    assert left.tolist() == before


@native
def test_convolution_weights_are_stored_in_the_kernels_order(where):
    """So that forward passes need not rearrange them."""
    with gpudl.device(where):
        made = nn.Conv2d(3, 4, 2)
    moved = nn.Conv2d(3, 4, 2).to(where)
    for net in (made, moved, copy.deepcopy(moved)):
        assert is_dense(net.weight.array, channels_last(4))
        x = Tensor(np.ones((1, 3, 4, 4), np.float32), device=where)
        device = net.weight.device
        before = device.copies
        net(x).sum().backward()
        assert device.copies - before <= 3, "x, and in the backward pass x and dy"
        assert is_dense(net.weight.grad.array, channels_last(4))
    there = moved.weight.tolist()
    assert moved.to("cpu").weight.tolist() == there
    assert moved.weight.array.flags.c_contiguous
