"""Elman's net: three rules give the same gradient; states equal PyTorch's; Jacobians."""

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.models.nets.rnn import ElmanNet, bptt, jacobian_norms, rtrl, truncated_bptt

T, N, I, H, O = 7, 3, 2, 5, 4


@pytest.fixture
def net():
    gpudl.manual_seed(0)
    return ElmanNet(I, H, O).double()


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = gpudl.tensor(rng.standard_normal((T, N, I)))
    return x, gpudl.tensor(rng.integers(0, O, (T, N)))


def gradients(net, rule, *arguments):
    net.zero_grad()
    loss = rule(net, *arguments)
    return loss, [p.grad.numpy().copy() for p in net.parameters()]


def test_real_time_recurrent_learning_has_the_gradient_of_backpropagation(net, data):
    loss, through_time = gradients(net, bptt, *data, nn.CrossEntropyLoss())
    same_loss, real_time = gradients(net, rtrl, *data, nn.CrossEntropyLoss())
    assert loss == pytest.approx(same_loss, rel=1e-12)
    for one, other in zip(through_time, real_time, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-14)


def test_truncation_cuts_the_gradient_but_not_the_state(net, data):
    rule, loss = truncated_bptt, nn.CrossEntropyLoss()
    whole = gradients(net, bptt, *data, loss)
    all_steps = gradients(net, rule, *data, loss, T)
    cut = gradients(net, rule, *data, loss, 2)
    assert whole[0] == all_steps[0]
    assert cut[0] == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_array_equal(whole[1][0], all_steps[1][0])
    assert np.abs(whole[1][0] - cut[1][0]).max() > 1e-3
    with pytest.raises(ValueError, match="window is 0"):
        truncated_bptt(net, *data, loss, 0)


def test_states_equal_torchs_recurrent_layer(net, data):
    torch = pytest.importorskip("torch")
    peer = torch.nn.RNN(I, H).double()
    weight = net.weight.detach().numpy()
    parts = {
        "weight_ih_l0": weight[:, :I],
        "weight_hh_l0": weight[:, I:-1],
        "bias_ih_l0": weight[:, -1],
        "bias_hh_l0": np.zeros(H),
    }
    peer.load_state_dict({name: torch.tensor(part.copy()) for name, part in parts.items()})
    states = peer(torch.tensor(data[0].numpy()))[0].detach().numpy()
    np.testing.assert_allclose(net.unfold(data[0]).detach().numpy(), states, rtol=1e-10)


@pytest.mark.parametrize("start", ["orthogonal", "identity"])
def test_jacobians_of_small_states_are_powers_of_the_gain(start):
    net = ElmanNet(I, H, O, start, gain=1.2)
    norms = jacobian_norms(net, gpudl.zeros(T, 1, I))
    np.testing.assert_allclose(norms, 1.2 ** np.arange(T), rtol=1e-5)
    with pytest.raises(ValueError, match="start is 'zero'"):
        ElmanNet(I, H, O, "zero")


def test_jacobians_are_those_of_autograd():
    gpudl.manual_seed(1)
    net = ElmanNet(I, H, O).double()
    x = gpudl.tensor(np.random.default_rng(2).standard_normal((3, 1, I)))
    first = net.step(x[0], net.first_state(x)).detach().requires_grad_()
    rows = []
    for unit in range(H):
        first.grad = None
        net.step(x[2], net.step(x[1], first))[0, unit].backward()
        rows.append(first.grad.numpy()[0].copy())
    expected = np.linalg.norm(np.array(rows), 2)
    assert jacobian_norms(net, x)[2] == pytest.approx(expected, rel=1e-10)
