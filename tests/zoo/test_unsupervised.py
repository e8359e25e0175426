"""Training without labels on a page of the zoo."""

import numpy as np
import pytest

import gpudl
from gpudl.models.nets.autoencoder import Autoencoder
from gpudl.zoo.page import QUICK_STEPS, Info, Page
from gpudl.zoo.unsupervised import Principal, batches, mapped, train


@pytest.fixture
def make_page(tmp_path):
    def make(quick):
        return Page(Info("some", "Some", 1, (), print), tmp_path, quick=quick)

    return make


def test_batches_are_reshuffled_each_epoch_and_contain_every_image(make_page):
    images, labels = np.arange(12, dtype=np.float32).reshape(12, 1, 1, 1), np.arange(12)
    found = list(batches(make_page(False), images, labels, 4, epochs=2))
    assert [done for done, _, _ in found] == [i / 6 for i in range(6)]
    orders = [np.concatenate([y.numpy() for _, _, y in part]) for part in (found[:3], found[3:])]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert (orders[0] != orders[1]).any()
    assert all((x.numpy().ravel() == y.numpy()).all() for _, x, y in found)
    assert len(list(batches(make_page(True), images, labels, 4, epochs=2))) == QUICK_STEPS


def test_training_lowers_the_loss_and_repeats(make_page):
    images = np.random.default_rng(0).random((64, 10), np.float32)
    losses = []
    for _ in range(2):
        gpudl.manual_seed(0)
        net = Autoencoder((10, 8))
        losses.append(train(make_page(False), net, images, epochs=5, lr=0.01, batch_size=16))
        assert not net.training
    assert losses[0] == losses[1]
    assert len(losses[0]) == 5
    assert losses[0][-1] < losses[0][0]


def test_all_rows_are_mapped_in_batches(make_page):
    rows = np.arange(7, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(mapped(make_page(False), lambda x: x * 2, rows, 3), rows * 2)


def test_principal_components_reconstruct_points_in_their_plane():
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((2, 6)).astype(np.float32)
    x = rng.standard_normal((50, 2)).astype(np.float32) @ plane + 3
    axes = Principal(x, 2)
    code = axes.encode(x)
    assert code.shape == (50, 2)
    assert code[:, 0].var() > code[:, 1].var()
    np.testing.assert_allclose(axes.decode(code), x, atol=1e-4)
    assert np.abs(Principal(x, 1).decode(code[:, :1]) - x).max() > 0.1
