"""The page on autoencoders."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import gpudl
from gpudl import nn, optim
from gpudl.models.nets import autoencoder as dense
from gpudl.models.nets import autoencoder_conv as convolutional
from gpudl.models.nets import autoencoder_regularised as regularised
from gpudl.models.nets import winner_take_all
from gpudl.zoo.page import Array, Page, page
from gpudl.zoo.unsupervised import Principal, mapped, train

DEEP = (784, 1000, 500, 250, 30)
SHALLOW = (784, 256)
TUNING, ALONE = 3, 3  # epochs of fine-tuning, and for the nets with one hidden layer
MASKED = "denoising, half of the pixels masked"
AS_LONG = len(DEEP) - 1 + TUNING  # epochs of the net trained without stacking: as many in total
UNPOOLING, WINNERS = 3, 2  # epochs of the convolutional nets


class Digits(NamedTuple):
    """Images (N, 784) and their labels."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array


class Best(NamedTuple):
    """The shallow net with the best linear classifier on its codes."""

    name: str
    accuracy: float


@page("Autoencoders", minutes=8)
def autoencoders(page: Page) -> None:
    """Nets that learn a code by reconstructing their input: plain, stacked, tied, denoising,
    sparse, stochastic, contractive, winner-take-all and convolutional. Errors are squared
    differences summed over the 784 pixels, averaged over the test images."""
    x, y, x_test, y_test = page.mnist()
    digits = Digits(x.reshape(-1, 784), y, x_test.reshape(-1, 784), y_test)
    page.text("MNIST, pixels in [0, 1]. Adam with a learning rate that decays to 0.")
    principal, deep = deep_nets(page, digits)
    retrieval(page, digits, principal, deep)
    some = Digits(digits.x[:20000], digits.y[:20000], digits.x_test, digits.y_test)
    nets, best = shallow_nets(page, some)
    features(page, some, best, principal, deep)
    filters(page, nets)
    noise_removed(page, some)
    convolutional_nets(page, some)


# ---------------------------------------------------------------- the deep net


def deep_nets(page: Page, digits: Digits) -> tuple[Principal, dense.Autoencoder]:
    """The deep net stacked and fine-tuned, from a random start, and principal components."""
    principal = Principal(digits.x, DEEP[-1])
    of_axes = squared(principal.decode(principal.encode(digits.x_test)), digits.x_test)
    net = dense.Autoencoder(DEEP, "relu").to(page.device)
    stack(page, net, digits.x)
    stacked = error(page, net, digits.x_test)
    train(page, net, digits.x, epochs=TUNING)
    tuned = error(page, net, digits.x_test)
    fresh = dense.Autoencoder(DEEP, "relu").to(page.device)
    train(page, fresh, digits.x, epochs=AS_LONG)
    page.table(
        ("30 numbers per image", "epochs", "error"),
        [
            ("principal components", "", of_axes),
            ("stacked: each layer on the codes of the one below", "1 per layer", stacked),
            ("stacked, then fine-tuned", f"1 per layer, then {TUNING}", tuned),
            ("from a random start, together", str(AS_LONG), error(page, fresh, digits.x_test)),
        ],
        caption="-".join(map(str, DEEP)) + " and back, ReLU units and a linear code",
    )
    paper = "Hinton and Salakhutdinov, Science 313, 2006"
    epochs = f"1 epoch per layer and {TUNING} together"
    page.beside(f"{'-'.join(map(str, DEEP))}, squared error ({epochs})", 3.00, tuned, paper)
    page.beside("30 principal components, squared error", 13.87, of_axes, paper)
    deep_claims(page, of_axes, stacked, tuned)
    reconstructions(page, digits.x_test[:10], principal, net)
    return principal, net


def stack(page: Page, net: dense.Autoencoder, images: Array) -> None:
    """Train each layer on the codes of the one below."""
    codes = images
    for number in range(len(DEEP) - 1):
        stage = net.stage(number)
        train(page, stage, codes, epochs=1)
        codes = mapped(page, stage.encode, codes)


def deep_claims(page: Page, of_axes: float, stacked: float, tuned: float) -> None:
    page.check(
        "784-1000-500-250-30 reconstructs with less than 60 % of the error of principal components "
        "of the same width", tuned < 0.6 * of_axes, f"{tuned:.2f} and {of_axes:.2f}",
    )  # fmt: skip
    page.check(
        "fine-tuning the whole stack more than halves the error", tuned < 0.5 * stacked,
        f"{tuned:.2f} after {stacked:.2f}",
    )  # fmt: skip


def reconstructions(page: Page, shown: Array, axes: Principal, net: dense.Autoencoder) -> None:
    rows = [shown, mapped(page, net, shown), axes.decode(axes.encode(shown))]
    page.image(
        "reconstructions",
        page.grid(np.concatenate(rows).reshape(-1, 28, 28), 10, 2, 0, 1),
        "Test images; reconstructions by the fine-tuned net; by 30 principal components",
    )


def retrieval(page: Page, digits: Digits, principal: Principal, net: dense.Autoencoder) -> None:
    """Retrieval of the training images with the nearest codes."""
    kept, asked = digits.x[:20000], digits.x_test[: page.pick(1000, 20)]
    codes = {
        "784 pixels": (kept, asked),
        "30 principal components": (principal.encode(kept), principal.encode(asked)),
        "30 codes of the net": (mapped(page, net.encode, kept), mapped(page, net.encode, asked)),
    }
    rows, found = [], np.zeros(0)
    for name, (known, query) in codes.items():
        found = nearest(query, known, 10)
        rows.append((name, float((digits.y[found] == digits.y_test[: len(asked), None]).mean())))
    page.table(
        ("distance between", "neighbours with the same digit"), rows,
        caption=f"The 10 nearest of {len(kept):,} training images, for {len(asked):,} test images",
    )  # fmt: skip
    page.check(
        "more than 85 % of the ten nearest codes belong to the same digit", rows[-1][1] > 0.85,
        f"{rows[-1][1]:.1%}",
    )  # fmt: skip
    best = max(rows, key=lambda row: row[1])
    page.text(
        f"Best: {best[0]}. Nothing in the net's loss asks for the codes of one digit to lie close "
        "together; it rewards only reconstruction."
    )
    tiles = [tile for i in range(6) for tile in (asked[i], *kept[found[i, :9]])]
    page.image(
        "retrieval", page.grid(np.stack(tiles).reshape(-1, 28, 28), 10, 2, 0, 1),
        "A test image and the nine training images with the nearest codes of the net",
    )  # fmt: skip


def nearest(query: Array, known: Array, count: int) -> Array:
    """Indices (queries, count) of the rows of `known` at the smallest distance."""
    distance = (known**2).sum(1) - 2 * query @ known.T
    return np.argsort(distance, 1)[:, :count]


# ---------------------------------------------------------------- one hidden layer


def shallow_kinds() -> dict[str, dense.Autoencoder]:
    """A 784-256 autoencoder of each kind."""
    return {
        "plain": dense.Autoencoder(SHALLOW, code="sigmoid"),
        "tied": dense.Autoencoder(SHALLOW, code="sigmoid", tied=True),
        MASKED: regularised.DenoisingAutoencoder(SHALLOW, amount=0.5),
        "sparse, KL to 0.05": regularised.SparseAutoencoder(SHALLOW, "kl", weight=1.0),
        "sparse, L1": regularised.SparseAutoencoder(SHALLOW, "l1", weight=0.5, code="relu"),
        "stochastic": regularised.StochasticAutoencoder(SHALLOW),
        "contractive": regularised.ContractiveAutoencoder(*SHALLOW, weight=1.0),
        "winner-take-all, 5 %": winner_take_all.WinnerTakeAllAutoencoder(*SHALLOW),
    }


def shallow_nets(page: Page, digits: Digits) -> tuple[dict[str, dense.Autoencoder], Best]:
    """Train each kind; report errors and linear classifiers on the codes. Returns the nets, and the
    best one for a classifier."""
    nets = shallow_kinds()
    rows: list[tuple[Any, ...]] = []
    for name, net in nets.items():
        train(page, net.to(page.device), digits.x, epochs=ALONE, lr=2e-3, batch_size=64)
        codes, judged = (mapped(page, net.encode, part) for part in (digits.x, digits.x_test))
        found = error(page, net, digits.x_test, winners=name.startswith("winner"))
        active = float((judged > 0.1).mean())
        rows.append((name, found, active, classified(page, digits, codes, judged)))
    page.table(
        ("784-256 and back", "error", "active units", "linear classifier on the codes"), rows,
        caption=f"{len(digits.x):,} training images, {ALONE} epochs. Logistic code units, ReLU for "
        "L1 and winner-take-all. Active: above 0.1. The winner-take-all error is measured with the "
        "losers among 500 images set to zero",
    )  # fmt: skip
    sparse_claims(page, {row[0]: row[2] for row in rows})
    best = max(rows, key=lambda row: row[3])
    return nets, Best(best[0], best[3])


def features(
    page: Page, digits: Digits, best: Best, principal: Principal, deep: dense.Autoencoder
) -> None:
    """Linear classifiers on pixels, principal components and the deep net's codes."""
    of_net = [mapped(page, deep.encode, part) for part in (digits.x, digits.x_test)]
    of_axes = [principal.encode(part) for part in (digits.x, digits.x_test)]
    shares = [
        ("784 pixels", classified(page, digits, digits.x, digits.x_test)),
        ("30 principal components", classified(page, digits, of_axes[0], of_axes[1])),
        ("30 codes of the fine-tuned deep net", classified(page, digits, of_net[0], of_net[1])),
    ]
    page.table(("linear classifier on", "test accuracy"), shares)
    page.check(
        "a linear classifier does better on codes than on pixels", best.accuracy > shares[0][1],
        f"{best.accuracy:.2%} ({best.name}), {shares[0][1]:.2%} on pixels",
    )  # fmt: skip
    page.check(
        "and better on the deep net's 30 codes than on 30 principal components",
        shares[2][1] > shares[1][1], f"{shares[2][1]:.2%} and {shares[1][1]:.2%}",
    )  # fmt: skip


def sparse_claims(page: Page, active: dict[str, float]) -> None:
    for name in ("sparse, KL to 0.05", "sparse, L1"):
        page.check(
            f"{name}: fewer units are active than in the plain net", active[name] < active["plain"],
            f"{active[name]:.1%} and {active['plain']:.1%}",
        )  # fmt: skip


def classified(page: Page, digits: Digits, codes: Array, judged: Array) -> float:
    """Test accuracy of a linear classifier on standardised codes."""
    mean, spread = codes.mean(0), codes.std(0) + 1e-3
    net = nn.Linear(codes.shape[1], 10).to(page.device)
    scaled, test = ((part - mean) / spread for part in (codes, judged))
    page.fit(
        net, (scaled, digits.y), (test, digits.y_test), epochs=4, batch_size=128,
        optimizer=optim.Adam(net.parameters(), lr=5e-3),
    )  # fmt: skip
    scores = mapped(page, net, test)
    return float((scores.argmax(1) == digits.y_test).mean())


def filters(page: Page, nets: dict[str, dense.Autoencoder]) -> None:
    drawn = ["plain", MASKED, "sparse, KL to 0.05", "contractive",
             "winner-take-all, 5 %"]  # fmt: skip
    tiles = [nets[name].encoder[0].weight.detach().cpu().numpy()[:18] for name in drawn]
    page.image(
        "filters",
        page.grid(np.concatenate(tiles).reshape(-1, 28, 28), 18),
        "Weights of 18 units per row: " + "; ".join(drawn),
    )


def noise_removed(page: Page, digits: Digits) -> None:
    """A net that removes salt-and-pepper noise from a third of the pixels."""
    net = regularised.DenoisingAutoencoder((784, 400), "relu", "relu", noise="salt and pepper",
                                     amount=1 / 3).to(page.device)  # fmt: skip
    train(page, net, digits.x, epochs=ALONE, lr=2e-3, batch_size=64)
    damaged = mapped(page, net.corrupt, digits.x_test)
    repaired = mapped(page, net, damaged)
    before, after = (squared(part, digits.x_test) for part in (damaged, repaired))
    page.check(
        "a denoising net removes four fifths of the error caused by noise",
        after < before / 5, f"{before:.1f} before, {after:.1f} after",
    )  # fmt: skip
    tiles = np.concatenate([part[:10] for part in (digits.x_test, damaged, repaired)])
    page.image(
        "noise", page.grid(tiles.reshape(-1, 28, 28), 10, 2, 0, 1),
        "Test images; with salt-and-pepper noise on a third of the pixels; restored by 784-400-784",
    )  # fmt: skip


# ---------------------------------------------------------------- convolutional


def convolutional_nets(page: Page, digits: Digits) -> None:
    x, x_test = (part.reshape(-1, 1, 28, 28) for part in (digits.x[:6000], digits.x_test[:1000]))
    unpooling = convolutional.ConvAutoencoder().to(page.device)
    winners = winner_take_all.ConvWinnerTakeAllAutoencoder(1, 16, 0.2).to(page.device)
    for net, epochs in ((unpooling, UNPOOLING), (winners, WINNERS)):
        train(page, net, x, epochs=epochs, lr=2e-3, batch_size=64)

    def without_switches(images: gpudl.Tensor) -> gpudl.Tensor:
        grey = unpooling.encode(gpudl.zeros_like(images) + 0.5)[1]
        return unpooling.decode(unpooling.encode(images)[0], grey)

    rows = [
        ("16 and 8 maps, pooled twice, unpooled to the positions of the maxima",
         error(page, unpooling, x_test)),
        ("the same codes with the positions from a grey image",
         squared(mapped(page, without_switches, x_test), x_test)),
        ("16 maps, one winner each, drawn by 11x11 filters",
         error(page, winners, x_test, winners=True)),
    ]  # fmt: skip
    page.table(("convolutional", "error"), rows, caption=f"{len(x):,} training images")
    page.check(
        "unpooling needs the positions of the maxima", rows[1][1] > 5 * rows[0][1],
        f"{rows[0][1]:.2f} with, {rows[1][1]:.1f} without",
    )  # fmt: skip
    kernels = winners.decoder.weight.detach().cpu().numpy()[:, 0]
    page.image("strokes", page.grid(kernels, 8, 4), "The 16 decoder filters: strokes of digits")


# ---------------------------------------------------------------- measures


def squared(given: Array, x: Array) -> float:
    """|given - x|² summed over pixels, averaged over images."""
    return float(((given - x) ** 2).reshape(len(x), -1).sum(1).mean())


def error(page: Page, net: nn.Module, x: Array, winners: bool = False) -> float:
    """The net's squared error on images x (N, …). winners: compete as in training."""
    found = squared(mapped(page, net.train(winners), x), x)
    net.eval()
    return found
