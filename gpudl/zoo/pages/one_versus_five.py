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
EPOCHS, BATCH = 15, 32
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
    linear = nn.Sequential(nn.Flatten(), nn.Linear(256, 1)).to(page.device)
    _train(page, linear, linear.parameters(), *train)
    results = [
        ("logistic regression on the pixels", *_errors(linear, train, test), ""),
        _row("all layers at once", whole, train, test),
    ]
    features = []
    for target in ("label", "input"):
        net = network().to(page.device)
        _grow(page, net, *train, target)
        results.append(_row(f"greedy, each layer predicts the {target}", net, train, test))
        _train(page, net, net.parameters(), *train, lr=2e-3)
        results.append(_row("… then fine-tuned", net, train, test))
        features.append(net.layers[HIDDEN[0]].weight.detach().numpy().reshape(6, 16, 16))
        if target == "label":
            _draw(page, net, test)
    caption = (
        "Weights of the six units of the first layer after fine-tuning, white where ink excites; "
        "each row is labelled with what its layers were first trained to predict"
    )
    with page.axes("features", caption, 2, 1, size=(7, 2.8)) as axes:
        for axis, filters, target in zip(axes, features, ("label", "input"), strict=True):
            axis.imshow(page.grid(filters, columns=6), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[], ylabel=target)
    page.table(
        ("training", "error, training digits", "error, test digits", "filters' mean cosine"),
        [(name, f"{inside:.2%}", f"{outside:.2%}", cos) for name, inside, outside, cos in results],
        caption="Mean size of the cosine between two of the first layer's six filters",
    )
    page.text(
        "The task is easy: logistic regression on the pixels separates the digits too, so the "
        "errors do not show what hidden layers are good for. The filters do differ by training. "
        "One good direction suffices to predict the label, so units that learn only that end close "
        "to one another; units that first learn to reproduce the input differ, and come closer "
        "when they are fine-tuned to predict the label."
    )
    count = sum(p.numel() for p in whole.parameters())
    page.check("1,559 parameters", count == 1559, f"{count:,}")
    alone, forced = (float(results[i][3]) for i in (3, 5))
    final = 1 - results[3][2]
    page.check(f"greedy and fine-tuned: accuracy {GOOD:.0%} or more", final >= GOOD, f"{final:.2%}")
    page.check("filters first trained to reproduce the input differ more", forced < alone,
               f"mean cosine {forced:.2f} against {alone:.2f}")  # fmt: skip


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
    optimizer = optim.Adam(parameters, lr=lr)
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


def _row(name: str, net: Any, train: Pair, test: Pair) -> tuple[str, float, float, str]:
    """A row of the table: errors, and how similar the first layer's filters are."""
    filters = net.layers[HIDDEN[0]].weight.detach().numpy()
    filters = filters / np.linalg.norm(filters, axis=1, keepdims=True)
    pairs = np.abs(filters @ filters.T)[np.triu_indices(len(filters), 1)]
    return (name, *_errors(net, train, test), f"{pairs.mean():.2f}")


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
        axes.legend(loc="lower center")
