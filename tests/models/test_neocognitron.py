"""The Neocognitron and complex cells: selectivity, learning, invariance."""

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.models.nets.lenet_codes import codes
from gpudl.models.nets.neocognitron import CLayer, Neocognitron, SLayer, winners
from gpudl.models.nets.neocognitron_reader import NeocognitronReader
from gpudl.models.nets.simple_complex import (
    ComplexCells,
    ComplexReader,
    cyclic_shifts,
    rotate,
    rotations,
)


def digits(count: int, down: int = 0, right: int = 0) -> gpudl.Tensor:
    """The drawn digits 0 to count - 1, shifted from the centre of 16x16 pixels."""
    images = np.zeros((count, 1, 16, 16), np.float32)
    drawn = codes(count).reshape(-1, 12, 7) > 0
    images[:, 0, 2 + down : 14 + down, 4 + right : 11 + right] = drawn
    return gpudl.tensor(images)


def test_the_layers_have_the_papers_sizes():
    shapes = [tuple(a.shape) for a in Neocognitron().layers(digits(2)).values()]
    assert shapes == [(2, 24, s, s) for s in (16, 10, 8, 6, 2, 1)]


@pytest.mark.parametrize(("cosine", "responds"), [(0.85, True), (0.75, False)])
def test_an_s_cell_responds_to_inputs_similar_to_its_pattern(cosine, responds):
    """The threshold is a weighted cosine of r/(1 + r), here 0.8."""
    rng = np.random.default_rng(0)
    layer = SLayer(1, 1, 5, 0, selectivity=4.0, rate=1000.0)
    layer.excitation.fill_(0)
    root = np.sqrt(layer.window.numpy()[0, 0])
    pattern, other = rng.random((2, 5, 5))
    axes = np.linalg.qr(np.stack([(pattern * root).ravel(), (other * root).ravel()], 1))[0]
    first, second = axes.T
    mixed = (cosine * first + np.sqrt(1 - cosine**2) * second).reshape(5, 5) / root
    patch = gpudl.tensor((first.reshape(5, 5) / root)[None, None].astype(np.float32))
    layer.excitation.add_(layer.window * patch, alpha=layer.rate)
    layer.inhibition.add_(layer.energy(patch)[0, 0, 0, 0], alpha=layer.rate / 2)
    response = layer(gpudl.tensor(mixed[None, None].astype(np.float32))).item()
    assert (response > 0) == responds


def test_a_winner_is_the_strongest_in_its_column_and_its_plane():
    answers = np.zeros((3, 8, 8), np.float32)
    answers[0, 1, 1], answers[1, 1, 2] = 5, 4  # in one column: the second is a candidate elsewhere
    answers[2, 6, 6], answers[0, 6, 1] = 3, 2  # plane 0 has a stronger candidate
    assert chosen(answers, 3) == {0: (5, 1, 1), 1: (4, 1, 2), 2: (3, 6, 6)}
    assert chosen(answers, 8) == {0: (5, 1, 1)}
    assert chosen(np.zeros((3, 8, 8), np.float32), 3) == {}


def chosen(answers: np.ndarray, column: int) -> dict[int, tuple[float, int, int]]:
    """(strength, row, column) of each plane's winner, if any; the same on the emulator."""
    results = []
    for device in ("cpu", "emulator"):
        strength, position = winners(gpudl.tensor(answers, device=device), column)
        pairs = zip(strength.tolist(), position.tolist(), strict=True)
        results.append({i: (s, *divmod(p, 8)) for i, (s, p) in enumerate(pairs) if s > 0})
    assert results[0] == results[1]
    return results[0]


def test_the_emulator_learns_the_same():
    states = []
    for device in ("cpu", "emulator"):
        gpudl.manual_seed(0)
        net = Neocognitron().to(device)
        net.learn(digits(3).to(device), passes=2)
        states.append({name: p.numpy() for name, p in net.state_dict().items()})
    for name, values in states[0].items():
        np.testing.assert_allclose(values, states[1][name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_c_cells_ignore_a_response_common_to_all_planes():
    """Equation 3: the common response cancels."""
    same = gpudl.tensor(np.full((1, 4, 8, 8), 0.3, np.float32))
    np.testing.assert_allclose(CLayer(6, 5)(same).numpy(), 0, atol=1e-6)


def test_five_digits_get_five_cells_that_recognise_them_shifted():
    gpudl.manual_seed(0)
    net = Neocognitron()
    used = net.learn(digits(5), passes=4)
    assert used["s3"] == 5
    cells = net(digits(5)).numpy().argmax(1)
    assert len(set(cells)) == 5
    for down, right in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        moved = net(digits(5, down, right)).numpy()
        np.testing.assert_array_equal(moved.argmax(1), cells)


def test_the_reader_trains_its_stages_in_turn_then_the_linear_layer():
    gpudl.manual_seed(0)
    net = NeocognitronReader(5, patterns=10)
    steps = net.make_stepper(lambda parameters: gpudl.optim.SGD(parameters, lr=1.0))
    changed = []
    for _ in range(6):
        before = {name: p.numpy().copy() for name, p in net.state_dict().items()}
        losses = steps.step(digits(5), gpudl.arange(5))
        after = net.state_dict()
        changed.append({n[:2] for n in before if np.any(before[n] != after[n].numpy())} - {"se"})
    assert changed == [{"s1"}, {"s1"}, {"s2"}, {"s2"}, {"re"}, {"re"}]
    after_all = nn.functional.cross_entropy(net.classify(digits(5)), gpudl.arange(5))
    assert after_all.item() < losses["loss"].item()


def test_a_reader_with_three_stages():
    net = NeocognitronReader(5, (24, 24, 30), (2.0, 1.5, 5.0), patterns=(5, 5, 10))
    assert net.learn(digits(5)) == 5
    assert sum(net.learn(digits(5)) for _ in range(5)) == 15
    assert (net.s3.inhibition.numpy() > 0).any()
    assert net(digits(5)).shape == (5, 5)
    with pytest.raises(ValueError, match="must have the same length, one to three"):
        NeocognitronReader(5, (1, 2, 3), (1.0,))


def test_complex_cells_learn_templates_from_images():
    """Templates taken from the first images and rotated by matrices equal NumPy's rotations."""
    net = ComplexReader(5, 16, templates=4, copies=8)
    assert (net.learn(digits(5)), net.learn(digits(5))) == (4, 0)
    images = digits(5).numpy()
    expected = ComplexCells(images[:4, 0], rotations(8)).templates.numpy()
    np.testing.assert_allclose(net.cells.templates.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "mean", "energy"])
def test_complex_cells_are_invariant_to_cyclic_shifts(pooling):
    rng = np.random.default_rng(0)
    cells = ComplexCells(rng.random((3, 6, 6), np.float32), cyclic_shifts(6), pooling)
    images = rng.random((4, 1, 6, 6), np.float32)
    moved = np.roll(images, (2, 5), axis=(2, 3))
    before, after = (cells(gpudl.tensor(x)).numpy() for x in (images, moved))
    np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)
    assert np.ptp(before) > 0.01


def test_four_rotations_make_cells_invariant_to_quarter_turns():
    rng = np.random.default_rng(0)
    cells = ComplexCells(rng.random((3, 7, 7), np.float32), rotations(4))
    images = rng.random((4, 1, 7, 7), np.float32)
    turned = np.ascontiguousarray(np.rot90(images, axes=(2, 3)))
    before, after = (cells(gpudl.tensor(x)).numpy() for x in (images, turned))
    np.testing.assert_allclose(before, after, rtol=1e-4)


def test_a_quarter_turn_moves_pixels_exactly():
    image = np.random.default_rng(0).random((5, 6, 6), np.float32)
    np.testing.assert_allclose(rotate(image, np.pi / 2), np.rot90(image, axes=(1, 2)), atol=1e-6)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="pooling is 'sum'; it must be one of max, mean, energy"):
        ComplexCells(np.ones((1, 2, 2), np.float32), cyclic_shifts(2), "sum")
