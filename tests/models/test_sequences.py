"""Nets for texts and for images of any size: PyTorch's logits; padding changes nothing."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn, optim
from gpudl.models.nets.char_conv import PADDING, SequenceConv, TextConv, TextRNN
from gpudl.zoo.pages.sequences import columns_of

CODES = np.random.default_rng(0).integers(0, 65, (3, 20))


def torch_state(torch, net):
    return {name: torch.tensor(value.numpy().copy()) for name, value in net.state_dict().items()}


@pytest.mark.parametrize("name", ["char_rnn", "char_lstm", "char_gru"])
def test_recurrent_language_models_have_torchs_logits(name):
    torch = pytest.importorskip("torch")
    net = models.create(name, hidden=24, layers=2, embedding=8).eval()
    state = torch_state(torch, net)
    embedding, head = torch.nn.Embedding(65, 8), torch.nn.Linear(24, 65)
    kind = {"char_rnn": torch.nn.RNN, "char_lstm": torch.nn.LSTM, "char_gru": torch.nn.GRU}[name]
    rnn = kind(8, 24, 2, batch_first=True)
    for part, prefix in ((embedding, "embedding."), (rnn, "rnn."), (head, "head.")):
        mine = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        part.load_state_dict(mine)
    with torch.no_grad():
        expected = head(rnn(embedding(torch.tensor(CODES)))[0]).numpy()
    logits, _ = net(gpudl.tensor(CODES))
    np.testing.assert_allclose(logits.detach().numpy(), expected, atol=1e-4)


def test_the_causal_net_has_torchs_logits():
    torch = pytest.importorskip("torch")
    net = models.create("char_conv", hidden=16, layers=3, embedding=8)
    state = torch_state(torch, net)
    seen = torch.tensor(np.concatenate([np.zeros((3, 7), np.int64), CODES], 1))
    x = torch.nn.functional.embedding(seen, state["embedding.weight"]).transpose(1, 2)
    for i in range(3):
        weight, bias = (state[f"convolutions.{i}.{part}"] for part in ("weight", "bias"))
        y = torch.nn.functional.conv1d(x, weight, bias, dilation=2**i).relu()
        x = y + x[:, :, 2**i :] if i else y
    expected = torch.nn.functional.linear(
        x.transpose(1, 2), state["head.weight"], state["head.bias"]
    )
    logits, _ = net(gpudl.tensor(CODES))
    np.testing.assert_allclose(logits.detach().numpy(), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["char_rnn", "char_lstm", "char_gru", "char_conv"])
def test_the_state_carries_a_text_over_windows(name):
    net = models.create(name, hidden=16).eval()
    whole, _ = net(gpudl.tensor(CODES))
    first, state = net(gpudl.tensor(CODES[:, :13]))
    second, _ = net(gpudl.tensor(CODES[:, 13:]), state)
    parts = np.concatenate([first.detach().numpy(), second.detach().numpy()], 1)
    np.testing.assert_allclose(parts, whole.detach().numpy(), atol=1e-5)


def test_the_causal_net_does_not_see_the_future():
    net = models.create("char_conv", hidden=16)
    later = CODES.copy()
    later[:, 12:] = 0
    one, other = (net(gpudl.tensor(codes))[0].detach().numpy() for codes in (CODES, later))
    np.testing.assert_array_equal(one[:, :12], other[:, :12])
    assert np.abs(one[:, 12:] - other[:, 12:]).max() > 1e-3


@pytest.mark.parametrize("kind", [TextConv, TextRNN])
def test_padding_changes_nothing(kind):
    gpudl.manual_seed(0)
    net = kind(65, 2).eval()
    padded = np.full((3, 40), 65)
    lengths = (20, 9, 1)
    for row, codes, length in zip(padded, CODES, lengths, strict=True):
        row[:length] = codes[:length]
    together = net(gpudl.tensor(padded)).detach().numpy()
    for row, codes, length in zip(together, CODES, lengths, strict=True):
        alone = net(gpudl.tensor(codes[None, :length])).detach().numpy()
        np.testing.assert_allclose(row, alone[0], atol=1e-5)


@pytest.mark.parametrize("kind", [TextConv, TextRNN])
def test_texts_are_learned(kind):
    gpudl.manual_seed(0)
    net = kind(65, 2)
    labels = gpudl.tensor([0, 1, 1])
    optimizer = optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(gpudl.tensor(CODES)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_images_of_any_size():
    torch = pytest.importorskip("torch")
    net = models.create("fully_convolutional", width=8)
    state = torch_state(torch, net)
    layers = []
    for number, stride in zip((0, 2, 4, 6, 8), (1, 2, 1, 2, 1), strict=True):
        weight = state[f"features.{number}.weight"]
        layer = torch.nn.Conv2d(*weight.shape[1::-1], 3, stride=stride, padding=1)
        layers += [layer, torch.nn.ReLU()]
    peer = torch.nn.Sequential(*layers)
    peer.load_state_dict({n[9:]: v for n, v in state.items() if n.startswith("features")})
    head = torch.nn.Conv2d(32, 10, 1)
    head.load_state_dict({n[11:]: v for n, v in state.items() if n.startswith("classifier")})
    for size in ((28, 28), (16, 16), (28, 85)):
        images = np.random.default_rng(1).random((2, 1, *size), dtype=np.float32)
        with torch.no_grad():
            expected = head(peer(torch.tensor(images))).mean((2, 3)).numpy()
        np.testing.assert_allclose(net(gpudl.tensor(images)).detach().numpy(), expected, atol=1e-4)


def test_an_unknown_cell_is_refused():
    from gpudl.models.nets.char_rnn import CharRNN

    with pytest.raises(ValueError, match="cell is 'gated'; it must be one of rnn, lstm, gru"):
        CharRNN(65, "gated")


def test_text_classifiers_have_torchs_logits():
    torch = pytest.importorskip("torch")
    for name in ("text_conv", "text_rnn"):
        net = models.create(name).eval()
        state = torch_state(torch, net)
        x = torch.nn.functional.embedding(torch.tensor(CODES), state["embedding.weight"])
        if name == "text_conv":
            x = x.transpose(1, 2)
            for i in range(2):
                weight, bias = (state[f"convolutions.{i}.{part}"] for part in ("weight", "bias"))
                x = torch.nn.functional.conv1d(x, weight, bias, padding=2).relu()
            x = x.transpose(1, 2)
        else:
            rnn = torch.nn.LSTM(32, 64, batch_first=True, bidirectional=True)
            rnn.load_state_dict({n[4:]: v for n, v in state.items() if n.startswith("rnn.")})
            x = rnn(x)[0]
        head = (state[f"head.{part}"] for part in ("weight", "bias"))
        expected = torch.nn.functional.linear(x.amax(1), *head).detach().numpy()
        logits = net(gpudl.tensor(CODES)).detach().numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_number_of_parameters_of_text_classifiers():
    conv = models.create("text_conv")
    first, second = 32 * 64 * 5 + 64, 64 * 64 * 5 + 64
    assert sum(p.numel() for p in conv.parameters()) == 66 * 32 + first + second + 64 * 2 + 2
    rnn = models.create("text_rnn")
    one_way = 4 * 64 * (32 + 64 + 2)
    assert sum(p.numel() for p in rnn.parameters()) == 66 * 32 + 2 * one_way + 128 * 2 + 2


def test_sequences_of_vectors_may_be_padded():
    gpudl.manual_seed(0)
    net = SequenceConv(6, 3)
    assert sum(p.numel() for p in net.parameters()) == 64 * 5 * (6 + 64) + 2 * 64 + 64 * 3 + 3
    rng = np.random.default_rng(0)
    rows = rng.random((2, 12, 6)).astype(np.float32)
    rows[1, 7:] = PADDING
    together = net(gpudl.tensor(rows)).detach().numpy()
    alone = net(gpudl.tensor(rows[1:, :7])).detach().numpy()
    np.testing.assert_allclose(together[1], alone[0], atol=1e-5)


def test_the_columns_of_a_digit_run_from_its_first_ink_to_its_last():
    images = np.zeros((2, 1, 2, 5), np.float32)
    images[0, 0, 0, 1], images[0, 0, 1, 3] = 0.5, 1
    images[1, 0, 1, 4] = 1
    columns = columns_of(images)
    np.testing.assert_array_equal(columns[0], [[0.5, 0], [0, 0], [0, 1], [-1, -1], [-1, -1]])
    np.testing.assert_array_equal(columns[1], [[0, 1], *[[-1, -1]] * 4])


def test_an_even_window_is_refused():
    with pytest.raises(ValueError, match="kernel is 4; it must be odd"):
        TextConv(65, 2, kernel=4)
