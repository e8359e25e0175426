"""Conv nets along texts of any length, and one over images of two sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl import Tensor, no_grad, optim
from gpudl.data import TextDataset
from gpudl.data.text import decode
from gpudl.models.char_conv import TextConv, TextRNN
from gpudl.models.fully_convolutional import FullyConvolutional
from gpudl.train.metrics import softmax
from gpudl.train.recipe import WarmCosine
from gpudl.zoo.language import shakespeare
from gpudl.zoo.page import Page, page

Codes = npt.NDArray[np.int64]
SHORTEST, LONGEST = 10, 80  # characters
CONTEXT = 2  # characters that the forger looks at
TRAIN, TEST = 12000, 4000


@page("Sequences and images of any size", minutes=4)
def sequences(page: Page) -> None:
    """Convolutions need no fixed size: along a text of any length (Collobert and Weston, ICML 2008;
    Kim, EMNLP 2014), and over images of any height and width (Matan, Burges, LeCun and Denker, NIPS
    1991; Long, Shelhamer and Darrell, CVPR 2015)."""
    _texts(page)
    _images(page)


# ---------------------------------------------------------------------- texts


def _texts(page: Page) -> None:
    split = shakespeare(page)
    parts: list[Any] = list(split)
    vocabulary = len(parts[0].classes)
    counts = (page.pick(TRAIN, 128), page.pick(TEST, 64))
    sets = [
        forgeries(part, parts[0].codes, count, page.seed + place)
        for place, (part, count) in enumerate(zip(parts, counts, strict=True))
    ]
    (train, labels), (test, truth) = sets
    page.text(
        f"Is it Shakespeare? Half of the texts are pieces of the plays, {SHORTEST} to {LONGEST} "
        f"characters long; the others are forged: each character is drawn from those that follow "
        f"the {CONTEXT} before it in the plays. The test pieces and their forgeries begin in plays "
        "that were not learnt from. One batch holds texts of all lengths, padded, and what is "
        "behind a text's end is masked, so the padding changes nothing (tested). Two examples:"
    )
    page.table(
        ("which", "text"),
        [(("forged", "genuine")[truth[i]], show(test[i], parts[1].classes)) for i in (0, 1)],
    )
    nets = {"convolutions": TextConv(vocabulary, 2), "bidirectional LSTM": TextRNN(vocabulary, 2)}
    rows: list[tuple[Any, ...]] = []
    answers = {}
    for name, net in nets.items():
        net.to(page.device)
        optimizer = optim.Adam(net.parameters(), lr=2e-3)
        history = page.fit(
            net, (train, labels), (test, truth), epochs=4, batch_size=64, optimizer=optimizer,
            schedule=WarmCosine,
        )  # fmt: skip
        parameters = sum(p.numel() for p in net.parameters())
        rows.append((name, parameters, history[-1].accuracy, history[-1].test_accuracy))
        answers[name] = _answers(page, net, test) == truth
    page.table(("net", "parameters", "training accuracy", "test accuracy"), rows)
    lengths = (test != vocabulary).sum(1)
    _by_length(page, answers, lengths)
    found = rows[0][3]
    page.check("convolutions tell more than 75 % of the texts", found > 0.75, f"{found:.2%}")
    right = answers["convolutions"]
    middle = (SHORTEST + LONGEST) // 2
    short, long = (float(np.mean(right[where])) for where in (lengths < middle, lengths >= middle))
    page.check("longer texts are told more surely", long > short, f"{long:.2%}, {short:.2%}")


def forgeries(part: TextDataset, source: Codes, count: int, seed: int) -> tuple[Codes, Codes]:
    """(count, LONGEST) codes, padded with the size of the vocabulary, and labels: 0 forged, 1
    genuine, in turns.

    A forgery begins as the part does somewhere and goes on as a chain of order CONTEXT that is
    drawn from `source`: at a random one of all places where its last characters stand, it takes
    the next.
    """
    rng = np.random.default_rng(seed)
    padding = len(part.classes)
    starts = rng.integers(0, len(part.codes) - LONGEST, count)
    texts = part.codes[starts[:, None] + np.arange(LONGEST)].copy()
    forged = texts[::2]
    keys = source[:-2] * padding + source[1:-1]  # CONTEXT characters as one number
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    for place in range(CONTEXT, LONGEST):
        key = forged[:, place - 2] * padding + forged[:, place - 1]
        first = np.searchsorted(ranked, key, "left")
        number = np.searchsorted(ranked, key, "right") - first
        chosen = first + (rng.random(len(key)) * np.maximum(number, 1)).astype(np.int64)
        following = source[order[np.minimum(chosen, len(order) - 1)] + 2]
        forged[:, place] = following
    lengths = rng.integers(SHORTEST, LONGEST + 1, count)
    texts[np.arange(LONGEST) >= lengths[:, None]] = padding
    return texts, np.arange(count) % 2


def show(codes: Codes, classes: tuple[str, ...]) -> str:
    """A padded text as a cell of a table."""
    return f"`{decode(codes[codes < len(classes)], classes)}`".replace("\n", "⏎").replace("|", "¦")


def _answers(page: Page, net: Any, inputs: npt.NDArray[Any]) -> Codes:
    net.eval()
    found = []
    with no_grad():
        for start in range(0, len(inputs), 256):
            logits = net(Tensor(inputs[start : start + 256], device=page.device))
            found.append(logits.argmax(1).numpy())
    return np.concatenate(found)


def _by_length(page: Page, answers: dict[str, Any], lengths: Codes) -> None:
    edges = np.arange(SHORTEST, LONGEST + 1, 10)
    with page.axes("lengths", "Accuracy by the length of the text", size=(5, 3.2)) as axes:
        for name, right in answers.items():
            shares = [right[(lengths >= low) & (lengths < low + 10)].mean() for low in edges[:-1]]
            axes.plot(edges[:-1] + 5, shares, marker="o", label=name)
        axes.set(xlabel="characters", ylabel="accuracy")
        axes.legend()


# ---------------------------------------------------------------------- images


def _images(page: Page) -> None:
    page.text(
        "One fully convolutional net learns the digits of MNIST, 28×28, and of USPS, 16×16, as "
        "they are, in turns: its scores at every place are averaged over the image, whatever its "
        "size."
    )
    large = page.mnist(12000, 2000)
    small = page.usps()
    net = FullyConvolutional(width=16).to(page.device)
    optimizer = optim.Adam(net.parameters(), lr=2e-3)
    untrained = _accuracies(page, net, large, small)
    for _ in range(page.pick(3, 1)):
        for x, y, x_test, y_test in (large, small):
            page.fit(net, (x, y), (x_test, y_test), epochs=1, optimizer=optimizer)
    trained = _accuracies(page, net, large, small)
    names = ("MNIST, 28×28", "USPS, 16×16")
    head = ("images", "test accuracy before", "after")
    page.table(head, list(zip(names, untrained, trained, strict=True)))
    page.check("MNIST above 96 %", trained[0] > 0.96, f"{trained[0]:.2%}")
    page.check("USPS above 92 %, with the same weights", trained[1] > 0.92, f"{trained[1]:.2%}")
    _strip(page, net, large[2][:6], large[3][:6])


def _accuracies(page: Page, net: Any, *sets: Any) -> list[float]:
    return [float(np.mean(_answers(page, net, x) == y)) for _, _, x, y in sets]


def _strip(page: Page, net: Any, digits: npt.NDArray[Any], labels: Codes) -> None:
    """A row of digits in one image, and what the net sees where."""
    strip = np.concatenate(list(digits), 2)[None]  # (1, 1, 28, 168)
    with no_grad():
        scores = net.scores(Tensor(strip, device=page.device)).numpy()[0]
    columns = softmax(scores.mean(1).T)  # (places, classes)
    caption = (
        f"One image of {strip.shape[2]}×{strip.shape[3]} with {len(digits)} digits, in one pass: "
        "below it the probability of each digit at every fourth column"
    )
    with page.axes("strip", caption, 2, 1, size=(6, 2.8)) as (top, bottom):
        top.imshow(strip[0, 0], cmap="gray")
        top.axis("off")
        extent = (0, strip.shape[3], 9.5, -0.5)
        bottom.imshow(columns.T, aspect="auto", cmap="Blues", extent=extent, vmin=0, vmax=1)
        bottom.set(ylabel="digit", yticks=range(0, 10, 2))
        bottom.grid(False)
    width = columns.shape[0] // len(digits)
    middles = columns.reshape(len(digits), width, -1)[:, width // 2]
    right = int((middles.argmax(1) == labels).sum())
    claim = "most digits of the row are read at their middles"
    page.check(claim, right > len(digits) / 2, f"{right} of {len(digits)}")
