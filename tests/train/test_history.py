"""Training from data sets without a loader, and the history that it returns."""

import numpy as np
import pytest
from PIL import Image

import gpudl
from gpudl import data, models, nn, optim
from gpudl.train import DivergedError, History, Trainer


def trained(train, test=None, epochs=2, net=None, loss=None, lr=2e-3, **options):
    net = net or models.lenet5()
    optimizer = optim.Adam(net.parameters(), lr=lr)
    trainer = Trainer(net, optimizer, loss or nn.CrossEntropyLoss(), train, test, **options)
    return trainer.fit(epochs)


def test_data_sets_need_no_loader(capsys):
    gpudl.manual_seed(0)
    history = trained(*data.load("digits"), epochs=4)
    assert history[-1].test_accuracy > 0.9
    head, *lines = capsys.readouterr().out.splitlines()
    assert "test accuracy" in head
    assert [text.split()[0] for text in lines] == ["1/4", "2/4", "3/4", "4/4"]


def test_arrays_of_any_float_train_a_regression(capsys):
    x = np.random.default_rng(0).standard_normal((128, 3))
    y = x @ [[1.0], [-2.0], [0.5]]
    net = nn.Linear(3, 1)
    history = trained((x, y), (x, y), 60, net, nn.MSELoss(), 0.05, batch_size=16, progress=False)
    assert history[-1].test_loss < history[0].test_loss / 20
    assert capsys.readouterr().out == ""


def test_images_of_integers_are_scaled():
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 28, 28), np.uint8)
    history = trained((images, np.arange(64) % 10), progress=False)
    assert history[0].loss < 3


def test_the_history_prints_a_table_and_draws_curves(tmp_path):
    history = trained(*data.load("digits"), progress=False)
    lines = str(history).splitlines()
    assert [text.split()[0] for text in lines] == ["epoch", "1/2", "2/2"]
    assert len({len(text) for text in lines}) == 1
    page = history._repr_html_()
    assert page.startswith("<pre>epoch")
    assert "data:image/png;base64," in page
    figure = history.plot(tmp_path / "curves.png", "digits")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Loss",
        "Accuracy",
        "Learning rate",
    ]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 500


def test_an_empty_history_says_so():
    assert repr(History()) == "History()"
    assert History()._repr_html_() == "<pre>History()</pre>"
    with pytest.raises(ValueError, match="no epochs yet"):
        History().plot()


def test_wrong_arguments_are_named():
    net = nn.Linear(4, 2)
    optimizer, loss = optim.SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss()
    x, y = np.ones((8, 4), np.float32), np.arange(8) % 2
    with pytest.raises(TypeError, match=r"loss is a class; .*CrossEntropyLoss\(\.\.\.\)"):
        Trainer(net, optimizer, nn.CrossEntropyLoss, (x, y))
    with pytest.raises(ValueError, match="none of the model's parameters"):
        Trainer(nn.Linear(4, 2), optimizer, loss, (x, y))
    with pytest.raises(TypeError, match=r"pass its parts, split\.train and split\.test"):
        Trainer(net, optimizer, loss, data.load("digits"))
    with pytest.raises(ValueError, match=r"must be \(inputs, targets\); this one is 1 entries"):
        Trainer(net, optimizer, loss, (x,), progress=False).fit(1)
    with pytest.raises(DivergedError, match="step 1; look for NaN and infinity in the inputs"):
        Trainer(net, optimizer, loss, (x * np.nan, y), progress=False).fit(1)


def test_lists_are_data_too():
    assert (
        len(trained(([[0.0, 1.0], [1.0, 0.0]], [0, 1]), net=nn.Linear(2, 2), progress=False)) == 2
    )
