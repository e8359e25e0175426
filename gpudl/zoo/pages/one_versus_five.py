"""Ones against fives: a network trained layer by layer, then fine-tuned."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import nn, no_grad, optim
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.small_nets import one_versus_five as network
from gpudl.nn import functional as F
from gpudl.zoo.page import Page, page

Pair = tuple[Tensor, Tensor]  # images and signs

ONE, FIVE = 1, 5
GOOD = 0.98
EPOCHS, BATCH, DECAY = 15, 32, 3e-3
HIDDEN = (1, 3)  # indices of the hidden layers in net.layers; a tanh follows each


@page("One versus five", minutes=1)
def one_versus_five(page: Page) -> None:
    """A 256-6-2-1 network of tanh units distinguishes ones from fives (the deep-learning example of
    Abu-Mostafa, Magdon-Ismail and Lin, Learning From Data, e-chapter 7, 2012). In greedy training,
    each layer is trained on the outputs of the layers before it, with a temporary output layer,
    and then frozen; at the end all layers are fine-tuned together."""
    x, y, x_test, y_test = page.usps()
    train, test = _pairs(page, x, y), _pairs(page, x_test, y_test)
    page.text(f"{len(train[0]):,} digits for training, {len(test[0]):,} for testing; "
              f"{EPOCHS} epochs for each layer and for fine-tuning.")  # fmt: skip
    whole = network().to(page.device)
    _train(page, whole, whole.parameters(), *train)
    results = [("all layers at once", *_errors(whole, train, test))]
    features = []
    for target in ("label", "input"):
        net = network().to(page.device)
        _grow(page, net, *train, target)
        results.append((f"greedy, each layer predicts the {target}", *_errors(net, train, test)))
        _train(page, net, net.parameters(), *train, lr=2e-3)
        results.append(("… then fine-tuned", *_errors(net, train, test)))
        features.append(net.layers[HIDDEN[0]].weight.detach().numpy().reshape(6, 16, 16))
        if target == "label":
            _draw(page, net, test)
    page.image(
        "features",
        page.grid(np.concatenate(features), columns=6, scale=5),
        "Weights of the six units of the first layer after fine-tuning, white where ink excites. "
        "Top: initially trained to predict the label; bottom: the input",
    )
    page.table(
        ("training", "error, training digits", "error, test digits"),
        [(name, f"{inside:.2%}", f"{outside:.2%}") for name, inside, outside in results],
    )
    count = sum(p.numel() for p in whole.parameters())
    page.check("1,559 parameters", count == 1559, f"{count:,}")
    final = 1 - results[2][2]
    page.check(f"greedy and fine-tuned: accuracy {GOOD:.0%} or more", final >= GOOD, f"{final:.2%}")


def _pairs(page: Page, images: Any, labels: Any) -> Pair:
    """Ones and fives with pixels in [-1, 1], and signs (N, 1): -1 for a one, 1 for a five."""
    chosen = np.isin(labels, (ONE, FIVE))
    signs = np.where(labels[chosen] == FIVE, 1, -1)[:, None]
    return page.tensor(2 * images[chosen] - 1), page.tensor(signs, np.float32)


def _grow(page: Page, net: Any, x: Tensor, signs: Tensor, target: str) -> None:
    """Train the hidden layers one after the other, then the output layer.

    target: "label" trains each new layer with a temporary output unit for the label; "input" trains
    it as an autoencoder of its own input.
    """
    for place in HIDDEN:
        with no_grad():
            given = x
            for before in list(net.layers)[:place]:
                given = before(given)
        layer = net.layers[place]
        wanted, width = (signs, 1) if target == "label" else (given, given.shape[1])
        helper = nn.Linear(layer.weight.shape[0], width).to(page.device)
        grown = nn.Sequential(layer, net.layers[place + 1], helper)
        _train(page, grown, grown.parameters(), given, wanted, squared=target == "input")
    _train(page, net, net.layers[-1].parameters(), x, signs)


def _train(
    page: Page, net: Any, parameters: Any, x: Tensor, wanted: Tensor, lr: float = 5e-3,
    squared: bool = False,
) -> None:  # fmt: skip
    """Adam on the logistic loss log(1 + exp(-sign·score)), or on the squared error."""
    optimizer = optim.Adam(parameters, lr=lr, weight_decay=DECAY)
    rng = np.random.default_rng(page.seed)
    for _ in range(page.pick(EPOCHS, 1)):
        for chosen in np.array_split(rng.permutation(len(x)), -(-len(x) // BATCH)):
            rows = page.tensor(chosen)
            net.zero_grad()
            scores, target = net(x[rows]), wanted[rows]
            loss = F.mse_loss(scores, target) if squared else F.softplus(-target * scores).mean()
            loss.backward()
            optimizer.step()


def _errors(net: Any, train: Pair, test: Pair) -> tuple[float, float]:
    """Error rates on the training and test digits: the score has the wrong sign."""
    found = []
    with no_grad():
        for images, signs in (train, test):
            scores = net(images).numpy()
            found.append(float(np.mean((scores > 0) != (signs.numpy() > 0))))
    return found[0], found[1]


def _draw(page: Page, net: Any, test: Pair) -> None:
    first, second = (net.layers[place].weight.detach().numpy() for place in HIDDEN)
    page.image(
        "second",
        page.grid((second @ first).reshape(2, 16, 16), columns=2, scale=8),
        "The weights of the second layer's two units, projected to the pixels (ignoring the tanh)",
    )
    codes, signs = test[0], test[1].numpy()[:, 0]
    with no_grad():
        for layer in list(net.layers)[:-1]:
            codes = layer(codes)
    weight, bias = (p.detach().numpy() for p in net.layers[-1].parameters())
    with page.axes("plane", "The test digits in the plane of the second layer, and the boundary") \
            as axes:  # fmt: skip
        for sign, name in ((-1, "ones"), (1, "fives")):
            axes.plot(*codes.numpy()[signs == sign].T, ".", markersize=4, label=name)
        side = np.array([-1.1, 1.1])
        steep = abs(weight[0, 1]) < abs(weight[0, 0])
        across = -(bias[0] + weight[0, int(steep)] * side) / weight[0, 1 - int(steep)]
        axes.plot(*((across, side) if steep else (side, across)), color="#6b7280", linewidth=1)
        axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xlabel="first unit", ylabel="second unit")
        axes.legend(loc="lower left")
