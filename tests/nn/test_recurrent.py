"""Recurrent layers against PyTorch's: the same weights give the same results and gradients."""

import itertools

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.nn.utils import rnn as utils
from tests.tolerance import assert_close

KINDS = ("RNN", "LSTM", "GRU")
RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.standard_normal(shape)


def pair(kind, *sizes, **options):
    """Our layer and PyTorch's in float64, with the same weights."""
    torch = pytest.importorskip("torch")
    ours = getattr(nn, kind)(*sizes, **options).double()
    theirs = getattr(torch.nn, kind)(*sizes, **options).double()
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return torch, ours, theirs


def flat(result):
    """The tensors in nested tuples."""
    if isinstance(result, tuple):
        return [t for part in result for t in flat(part)]
    return [result]


def compare(torch, ours, theirs, got, want, inputs):
    """Results, then gradients of the inputs and of all parameters."""
    got, want = flat(got), flat(want)
    assert len(got) == len(want)
    weights = [draw(*w.shape) for w in want]
    for g, w in zip(got, want, strict=True):
        assert_close(g.detach().numpy(), w.detach().numpy(), "float64", 64)
    sum((g * gpudl.tensor(v)).sum() for g, v in zip(got, weights, strict=True)).backward()
    sum((w * torch.tensor(v)).sum() for w, v in zip(want, weights, strict=True)).backward()
    for a, b in [*inputs, *zip(ours.parameters(), theirs.parameters(), strict=True)]:
        assert_close(a.grad.numpy(), b.grad.numpy(), "float64", 4096)


def leaves(torch, array):
    return gpudl.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True},
        {"bias": False, "batch_first": True},
        {"num_layers": 3, "batch_first": True, "bidirectional": True},
    ],
    ids=str,
)
def test_layers_agree_with_pytorch(kind, options):
    torch, ours, theirs = pair(kind, 4, 5, **options)
    x, x_twin = leaves(torch, draw(3, 2, 4))
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    batch = 3 if options.get("batch_first") else 2
    states = [leaves(torch, draw(count, batch, 5)) for _ in range(1 + (kind == "LSTM"))]
    hx, hx_twin = (tuple(s) for s in zip(*states, strict=True))
    if kind != "LSTM":
        hx, hx_twin = hx[0], hx_twin[0]
    compare(torch, ours, theirs, ours(x, hx), theirs(x_twin, hx_twin), [(x, x_twin), *states])
    ours(x)  # from zeros


def test_relu_and_one_sequence_without_a_batch():
    torch, ours, theirs = pair("RNN", 4, 5, nonlinearity="relu", bidirectional=True)
    x, x_twin = leaves(torch, draw(6, 4))
    h, h_twin = leaves(torch, draw(2, 5))
    compare(torch, ours, theirs, ours(x, h), theirs(x_twin, h_twin), [(x, x_twin), (h, h_twin)])
    torch, ours, theirs = pair("LSTM", 4, 5)
    compare(torch, ours, theirs, ours(x), theirs(x_twin), [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lengths_agree_with_pytorchs_packed_sequences(kind, bidirectional):
    torch, ours, theirs = pair(kind, 3, 4, num_layers=2, bidirectional=bidirectional)
    x, x_twin = leaves(torch, draw(5, 4, 3))
    lengths = [3, 5, 1, 4]
    twins = torch.nn.utils.rnn
    packed = twins.pack_padded_sequence(x_twin, torch.tensor(lengths), enforce_sorted=False)
    y, last = theirs(packed)
    want = (twins.pad_packed_sequence(y)[0], last)
    compare(torch, ours, theirs, ours(x, lengths=lengths), want, [(x, x_twin)])
    mine, mine_last = ours(utils.pack_padded_sequence(x, lengths, enforce_sorted=False))
    assert_close(mine.data.detach().numpy(), y.data.detach().numpy(), "float64", 64)
    assert mine.batch_sizes.tolist() == y.batch_sizes.tolist()
    assert mine.sorted_indices.tolist() == y.sorted_indices.tolist()
    assert mine.unsorted_indices.tolist() == y.unsorted_indices.tolist()
    for a, b in zip(flat(mine_last), flat(last), strict=True):
        assert_close(a.detach().numpy(), b.detach().numpy(), "float64", 64)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_agree_with_pytorch(kind):
    for bias, shape in itertools.product((True, False), ((3, 4), (4,))):
        torch, ours, theirs = pair(f"{kind}Cell", 4, 5, bias=bias)
        x, x_twin = leaves(torch, draw(*shape))
        states = [leaves(torch, draw(*shape[:-1], 5)) for _ in range(1 + (kind == "LSTM"))]
        hx, hx_twin = (tuple(s) for s in zip(*states, strict=True))
        if kind != "LSTM":
            hx, hx_twin = hx[0], hx_twin[0]
        compare(torch, ours, theirs, ours(x, hx), theirs(x_twin, hx_twin), [(x, x_twin), *states])
        assert flat(ours(x))[0].shape == (*shape[:-1], 5)


def test_padding_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    twins = torch.nn.utils.rnn
    arrays = [draw(n, 2) for n in (2, 4, 1)]
    for options in ({}, {"batch_first": True, "padding_value": 7.0}, {"padding_side": "left"}):
        got = utils.pad_sequence([gpudl.tensor(a) for a in arrays], **options)
        want = twins.pad_sequence([torch.tensor(a) for a in arrays], **options)
        np.testing.assert_array_equal(got.numpy(), want.numpy())
    packed = utils.pack_sequence([gpudl.tensor(a) for a in arrays], enforce_sorted=False)
    twin = twins.pack_sequence([torch.tensor(a) for a in arrays], enforce_sorted=False)
    np.testing.assert_array_equal(packed.data.numpy(), twin.data.numpy())
    options = {"batch_first": True, "padding_value": -1.0, "total_length": 6}
    got, counts = utils.pad_packed_sequence(packed, **options)
    want, _ = twins.pad_packed_sequence(twin, **options)
    np.testing.assert_array_equal(got.numpy(), want.numpy())
    assert counts.tolist() == [2, 4, 1]


def test_dropout_acts_between_layers_only_in_training():
    layer = nn.GRU(3, 4, num_layers=2, dropout=0.5)
    x = gpudl.tensor(draw(3, 2, 3).astype(np.float32))
    assert not np.array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())


def test_truncated_backpropagation_in_pieces():
    """Detached states cut the gradient; attached ones give that of the whole sequence."""
    layer = nn.LSTM(3, 4).double()
    x = gpudl.tensor(draw(6, 2, 3))
    layer(x)[0].sum().backward()
    whole = layer.weight_hh_l0.grad.numpy().copy()
    results = []
    for cut in (False, True):
        layer.zero_grad()
        first, states = layer(x[:3])
        if cut:
            states = tuple(s.detach() for s in states)
        second, _ = layer(x[3:], states)
        (first.sum() + second.sum()).backward()
        results.append(layer.weight_hh_l0.grad.numpy())
    assert_close(results[0], whole, "float64", 64)
    assert np.abs(results[1] - whole).max() > 1e-3


def test_initial_values_and_moving_to_the_emulator():
    layer = nn.LSTM(3, 100)
    for parameter in layer.parameters():
        assert 0.09 < np.abs(parameter.detach().numpy()).max() <= 0.1
    if gpudl.core.op.OPS["lstm_sequence"].kernels and _emulator():
        x = draw(3, 2, 3).astype(np.float32)
        want = layer(gpudl.tensor(x), lengths=[3, 2])[0].detach().numpy()
        layer.to("emulator")
        got = layer(gpudl.tensor(x, device="emulator"), lengths=[3, 2])[0]
        assert_close(got.detach().numpy(), want, reduction=300)


def _emulator():
    from gpudl.devices.find import why_missing

    return why_missing("emulator") is None


def test_invalid_arguments_are_refused():
    x = gpudl.tensor(draw(3, 2, 4).astype(np.float32))
    layer = nn.LSTM(4, 5)
    with pytest.raises(ValueError, match=r"LSTM: lengths \[0, 3\] must be from 1 to 3"):
        layer(x, lengths=[0, 3])
    with pytest.raises(ValueError, match=r"lengths is int64 of shape \(1,\).*must hold 2"):
        layer(x, lengths=[3])
    with pytest.raises(ValueError, match="input has 4 features; input_size is 3"):
        nn.GRU(3, 5)(x)
    with pytest.raises(TypeError, match=r"must be a pair \(h_0, c_0\)"):
        layer(x, gpudl.zeros(1, 2, 5))
    with pytest.raises(ValueError, match=r"c_0 has shape \(1, 2, 4\); it must have \(1, 2, 5\)"):
        layer(x, (gpudl.zeros(1, 2, 5), gpudl.zeros(1, 2, 4)))
    with pytest.raises(ValueError, match="projected states are not supported"):
        nn.LSTM(4, 5, proj_size=2)
    with pytest.raises(ValueError, match="nonlinearity 'gelu' must be one of"):
        nn.RNN(4, 5, nonlinearity="gelu")
    with pytest.raises(ValueError, match=r"must not increase; sort the sequences"):
        utils.pack_padded_sequence(x, [1, 3])
    with pytest.raises(ValueError, match=r"GRUCell: hx has the shapes \[\(2, 4\)\]"):
        nn.GRUCell(4, 5)(x[0], gpudl.zeros(2, 4))
