"""Transfer learning: a net trained on MNIST, reused where only 100 digits are labelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.data.shuffle import permutation
from gpudl.data.transforms import resize
from gpudl.nn import functional as F
from gpudl.nn import init
from gpudl.optim import Adam
from gpudl.train.transfer import features, freeze, layer_groups
from gpudl.zoo.page import Array, Arrays, Page, page

LABELLED, DRAWS = 100, 3
STEPS = 30  # epochs on the labelled digits
LR, FACTOR = 2e-3, 0.5
MOST_LEAN = 0.6


class DigitNet(nn.Module):
    """(N, 1, 16, 16) -> (N, outputs): two convolutions, then two linear layers."""

    def __init__(self, outputs: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4 * 4, 64)
        self.head = nn.Linear(64, outputs)

    def maps(self, input: Tensor) -> Tensor:
        """(N, 1, 16, 16) -> (N, 512): the output of the convolutions."""
        hidden = F.max_pool2d(self.conv1(input).relu(), 2)
        maps: Tensor = F.max_pool2d(self.conv2(hidden).relu(), 2)
        return maps.flatten(1)

    def features(self, input: Tensor) -> Tensor:
        """(N, 1, 16, 16) -> (N, 64): the input of the last layer."""
        return self.fc1(self.maps(input)).relu()

    def forward(self, input: Tensor) -> Tensor:
        return self.head(self.features(input))

    def layers(self) -> list[nn.Module]:
        return [self.conv1, self.conv2, self.fc1, self.head]


@page("Transfer learning", minutes=2)
def transfer(page: Page) -> None:
    """A net trained on MNIST's digits is reused for those of USPS, which come from other writers
    and another scanner, and of which only 100 have labels. Either its features feed a new last
    layer, or the whole net is fine-tuned, with smaller steps or frozen weights in lower layers
    (Yosinski, Clune, Bengio and Lipson, NIPS 2014). The last experiment is another task:
    regression."""
    learned = DigitNet().to(page.device)
    x, y, x_test, y_test = page.mnist()
    optimizer = Adam(learned.parameters(), lr=LR)
    row = page.fit(learned, (small(x), y), (small(x_test), y_test), epochs=2, optimizer=optimizer)
    page.text(
        f"The net is trained on {len(x):,} digits of MNIST, cropped and shrunk to 16x16; its "
        f"accuracy on MNIST's test digits is {row[-1].test_accuracy:.2%}."
    )
    usps = page.usps()
    compare(page, learned.state_dict(), usps)
    regress(page, learned.state_dict(), usps)


def small(images: Array) -> Array:
    """MNIST's digits without their margin, shrunk to 16x16 as in USPS."""
    return resize(images[:, :, 4:24, 4:24], 16)


def compare(page: Page, learned: dict[str, Tensor], usps: Arrays) -> None:
    """Compare ways to reuse the net, each with the same few labelled digits."""
    x, y, x_test, y_test = usps
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for draw in range(page.pick(DRAWS, 1)):
        chosen = permutation(len(x), page.seed, draw)[:LABELLED]
        for name, way in WAYS.items():
            net = DigitNet().to(page.device)
            if name != SCRATCH:
                net.load_state_dict(learned)
            call = way(page, net, x[chosen], y[chosen])
            found[name].append(accuracy(features(net, x_test, call), y_test))
    rows: list[Any] = [(n, np.mean(found[n]), min(found[n]), max(found[n])) for n in WAYS]
    page.table(
        ("from MNIST to USPS", "test accuracy", "lowest", "highest"),
        rows,
        caption=f"Means over {len(found[SCRATCH])} draws of {LABELLED} labelled digits; "
        f"{len(x_test):,} test digits.",
    )
    gain = 100 * float(np.mean(np.subtract(found[LAYERWISE], found[ONE_SIZE])))
    page.text(
        f"One step size per layer changes the mean accuracy by {gain:+.2f} points compared with "
        f"the same step size everywhere; one digit is {100 / len(x_test):.2f} points, so these "
        "draws do not show that it helps."
    )
    scratch = float(np.mean(found[SCRATCH]))
    for name, using, beats in (
        (NEW_HEAD, "features of", "beat"), (LAYERWISE, "fine-tuning", "beats"),
    ):  # fmt: skip
        reached = float(np.mean(found[name]))
        page.check(
            f"{using} a net trained on MNIST {beats} training from scratch",
            reached > scratch,
            f"{reached:.2%} against {scratch:.2%}",
        )


# ------------------------------------------------------------------ ways to reuse a net

Way = Callable[[Page, DigitNet, Array, Array], Callable[[Tensor], Tensor]]


def learn(page: Page, net: nn.Module, groups: Any, data: tuple[Array, Array]) -> None:
    page.fit(net, data, epochs=STEPS, batch_size=20, optimizer=Adam(groups, lr=LR))


def as_it_is(page: Page, net: DigitNet, x: Array, y: Array) -> Callable[[Tensor], Tensor]:
    return net


def all_layers(page: Page, net: DigitNet, x: Array, y: Array) -> Callable[[Tensor], Tensor]:
    learn(page, net, net.parameters(), (x, y))
    return net


def layer_by_layer(page: Page, net: DigitNet, x: Array, y: Array) -> Callable[[Tensor], Tensor]:
    learn(page, net, layer_groups(net.layers(), LR, FACTOR), (x, y))
    return net


def frozen(page: Page, net: DigitNet, x: Array, y: Array) -> Callable[[Tensor], Tensor]:
    freeze(net.conv1, net.conv2)
    learn(page, net, layer_groups(net.layers(), LR, 1.0), (x, y))
    return net


def new_head(page: Page, net: DigitNet, x: Array, y: Array) -> Callable[[Tensor], Tensor]:
    """A linear classifier on the net's features, which are computed once."""
    head = nn.Linear(64, 10).to(page.device)
    learn(page, head, head.parameters(), (features(net, x, net.features), y))
    return lambda input: head(net.features(input))


SCRATCH, NEW_HEAD, ONE_SIZE, LAYERWISE = (
    "from scratch",
    "its features, a new last layer",
    "fine-tuned, the same step size",
    "fine-tuned, one step size per layer",
)
WAYS: dict[str, Way] = {
    SCRATCH: all_layers,
    "the MNIST net as it is": as_it_is,
    NEW_HEAD: new_head,
    "fine-tuned, convolutions frozen": frozen,
    ONE_SIZE: all_layers,
    LAYERWISE: layer_by_layer,
}


def accuracy(logits: Array, labels: Array) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


# ------------------------------------------------------------------ a regression head


def leaning(images: Array, seed: int) -> tuple[Array, Array]:
    """Each digit sheared at random, (N, 1, 16, 16), and the amount, (N,): between -MOST_LEAN and
    MOST_LEAN columns per row, about the centre, with linear interpolation."""
    by = np.random.default_rng(seed).uniform(-MOST_LEAN, MOST_LEAN, len(images))
    row, column = np.mgrid[:16, :16]
    source = column + by[:, None, None] * (row - 7.5)
    left = np.floor(source).astype(np.int64)
    padded = np.pad(images[:, 0], ((0, 0), (0, 0), (8, 8)))
    before, behind = (np.take_along_axis(padded, np.clip(left + n, 0, 31), 2) for n in (8, 9))
    share = source - left
    sheared = ((1 - share) * before + share * behind).astype(np.float32)
    return sheared[:, None], by.astype(np.float32)


def regress(page: Page, learned: dict[str, Tensor], usps: Arrays) -> None:
    """The same net with one output, for two tasks: one that the net was trained to see, and one
    that it was not."""
    x, y, x_test, y_test = usps
    value = (x, y.astype(np.float32) / 9), (x_test, y_test.astype(np.float32) / 9)
    lean = leaning(x, page.seed), leaning(x_test, page.seed + 1)
    draws = range(page.pick(DRAWS, 1))
    found = {
        name: [
            float(np.mean([regression(page, learned, way, data, draw) for draw in draws]))
            for data in (value, lean)
        ]
        for name, way in HEADS.items()
    }
    page.text(
        f"Regression: the last layer has one output, trained on {LABELLED} digits with the squared "
        "error. In the first task it predicts the value of the digit, which the net has learned to "
        "recognise. In the second it predicts the slant of the digit; USPS digits were published "
        "deslanted, so they are sheared at random. The net was never trained to see slant, and a "
        "classifier does best to ignore it."
    )
    drawn = page.grid(lean[0][0][:20], scale=3)
    page.image("leaning", drawn, "USPS digits, sheared at random.")
    page.table(
        ("net", "variance explained: value", "variance explained: slant"),
        [(name, *shares) for name, shares in found.items()],
        caption="1 - mean squared error / variance on the test digits; means over "
        f"{len(draws)} draws",
    )
    _claims(page, found)


def _claims(page: Page, found: dict[str, list[float]]) -> None:
    """found: for each net the share of variance explained, of value and slant."""
    untrained, head, tuned = (found[name][0] for name in (UNTRAINED, HEAD, TUNED))
    page.check(
        "regression works better on the net's features than on those of an untrained net",
        head > untrained,
        f"{head:.1%} of the variance of the digit's value against {untrained:.1%}",
    )
    anew, blind = found[SCRATCH_HEAD][1], found[TUNED][1]
    page.check(
        "slant is better learned from scratch",
        anew > blind,
        f"{anew:.1%} against {blind:.1%}",
    )
    page.check(
        "fine-tuning improves the regression",
        tuned > head,
        f"{tuned:.1%} against {head:.1%}",
    )


UNTRAINED, HEAD, TUNED, SCRATCH_HEAD = (
    "a head on the features of an untrained net",
    "a head on the features of the MNIST net",
    "then fine-tuned in small steps",
    "all layers from scratch",
)
# Whether the lower layers start from MNIST; epochs of the head alone, and of the whole net.
HEADS = {
    UNTRAINED: (False, 100, 0),
    HEAD: (True, 100, 0),
    TUNED: (True, 100, STEPS),
    SCRATCH_HEAD: (False, 0, STEPS),
}


Numbers = tuple[Array, Array]  # images, and a number for each


def regression(
    page: Page,
    learned: dict[str, Tensor],
    way: tuple[bool, int, int],
    data: tuple[Numbers, Numbers],
    draw: int,
) -> float:
    """Share of the variance explained by a net with one output. data: (training, test)."""
    starts_learned, alone, together = way
    train, test = data
    chosen = permutation(len(train[0]), page.seed, draw)[:LABELLED]
    x, targets = train[0][chosen], train[1][chosen]
    net = DigitNet(outputs=1).to(page.device)
    if starts_learned:
        lower = {name: value for name, value in learned.items() if not name.startswith("head")}
        net.load_state_dict(lower, strict=False)
    if alone:
        init.zeros_(net.head.weight)  # start at the mean, whatever the scale of the features
        assert net.head.bias is not None
        init.constant_(net.head.bias, float(targets.mean()))
        seen = features(net, x, net.features)
        least_squares(page, net.head, Adam(net.head.parameters(), lr=LR), seen, targets, alone)
    groups = layer_groups(net.layers(), LR / 4 if alone else LR, FACTOR if alone else 1.0)
    least_squares(page, net, Adam(groups), x, targets, together)
    error = ((features(net, test[0])[:, 0] - test[1]) ** 2).mean()
    return 1 - float(error / test[1].var())


def least_squares(
    page: Page, net: nn.Module, optimizer: Adam, x: Array, targets: Array, passes: int
) -> None:
    """Minimise the squared error in batches of 20."""
    for number in range(min(passes, 1) if page.quick else passes):
        order = permutation(len(x), page.seed, number)
        for start in range(0, len(x), 20):
            chosen = order[start : start + 20]
            wanted = Tensor(targets[chosen, None], device=page.device)
            optimizer.zero_grad()
            F.mse_loss(net(Tensor(x[chosen], device=page.device)), wanted).backward()
            optimizer.step()
