"""Convolutional nets for texts and other sequences of any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl import Tensor, no_grad, optim
from gpudl.data import forgeries
from gpudl.data.labelled_text import CONTEXT, KINDS, LONGEST, SHORTEST, unpadded
from gpudl.models.nets.char_conv import PADDING, SequenceConv, TextConv, TextRNN
from gpudl.train.build import WarmCosine
from gpudl.train.tasks.text_classification import TEST, TRAIN
from gpudl.zoo.language import shakespeare
from gpudl.zoo.page import Page, page

Codes = npt.NDArray[np.int64]
Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]


@page("Sequences of any length", minutes=3)
def sequences(page: Page) -> None:
    """One-dimensional convolutions accept sequences of any length: Collobert and Weston, ICML 2008;
    Kim, EMNLP 2014. Here they classify texts by character, compared with a bidirectional LSTM, and
    digits by column."""
    _texts(page)
    _columns(page)


# ---------------------------------------------------------------------- texts


def _texts(page: Page) -> None:
    split = shakespeare(page)
    parts: list[Any] = list(split)
    vocabulary = len(parts[0].classes)
    counts = (page.pick(TRAIN, 128), page.pick(TEST, 64))
    sets: list[Any] = [
        forgeries(part, parts[0], count, seed=page.seed + place).arrays
        for place, (part, count) in enumerate(zip(parts, counts, strict=True))
    ]
    train, test = sets
    _examples(page, test, parts[1].classes)
    nets = {"convolutions": TextConv(vocabulary, 2), "bidirectional LSTM": TextRNN(vocabulary, 2)}
    rows = [(name, *_fit(page, net, train, test)) for name, net in nets.items()]
    page.table(("net", "parameters", "training accuracy", "test accuracy"), rows)
    answers = {name: answers_of(page, net, test[0]) == test[1] for name, net in nets.items()}
    lengths = (test[0] != vocabulary).sum(1)
    _by_length(page, answers, lengths)
    found = rows[0][-1]
    page.check("convolutions classify more than 75 % of the texts", found > 0.75, f"{found:.2%}")
    right = answers["convolutions"]
    middle = (SHORTEST + LONGEST) // 2
    short, long = (float(np.mean(right[where])) for where in (lengths < middle, lengths >= middle))
    page.check("longer texts are easier to classify", long > short, f"{long:.2%}, {short:.2%}")


def _examples(page: Page, test: Arrays, classes: tuple[str, ...]) -> None:
    page.text(
        f"Is it Shakespeare? Half of the texts are pieces of the plays, {SHORTEST} to {LONGEST} "
        f"characters long; the others are forged: each character is drawn from those that follow "
        f"the preceding {CONTEXT} in the plays. The test texts start in plays that are not in the "
        "training part. A batch holds padded texts of all lengths; the padding is masked and "
        "changes nothing (tested). Two examples:"
    )
    codes, truth = test
    page.table(("class", "text"), [(KINDS[truth[i]], show(codes[i], classes)) for i in (0, 1)])


def _fit(page: Page, net: Any, train: Arrays, test: Arrays) -> tuple[int, float, float]:
    """Train a net; returns its number of parameters and its accuracies on both parts."""
    net.to(page.device)
    optimizer = optim.Adam(net.parameters(), lr=2e-3)
    history = page.fit(
        net, train, test, epochs=4, batch_size=64, optimizer=optimizer, schedule=WarmCosine
    )
    parameters = sum(p.numel() for p in net.parameters())
    return parameters, history[-1].accuracy, history[-1].test_accuracy


def show(codes: Codes, classes: tuple[str, ...]) -> str:
    """A padded text, formatted for a table cell."""
    return f"`{unpadded(codes, classes)}`".replace("\n", "⏎").replace("|", "¦")


def answers_of(page: Page, net: Any, inputs: npt.NDArray[Any]) -> Codes:
    net.eval()
    found = []
    with no_grad():
        for start in range(0, len(inputs), 256):
            logits = net(Tensor(inputs[start : start + 256], device=page.device))
            found.append(logits.argmax(1).numpy())
    return np.concatenate(found)


def _by_length(page: Page, answers: dict[str, Any], lengths: Codes) -> None:
    edges = np.arange(SHORTEST, LONGEST + 1, 10)
    with page.axes("lengths", "Accuracy by text length", size=(5, 3.2)) as axes:
        for name, right in answers.items():
            shares = [right[(lengths >= low) & (lengths < low + 10)].mean() for low in edges[:-1]]
            axes.plot(edges[:-1] + 5, shares, marker="o", label=name)
        axes.set(xlabel="characters", ylabel="accuracy")
        axes.legend()


# ---------------------------------------------------------------------- columns of pixels


def _columns(page: Page) -> None:
    """Digits as sequences of their columns, from first to last ink."""
    x, y, x_test, y_test = page.mnist(20_000, 4000)
    train, test = columns_of(x), columns_of(x_test)
    lengths = (test[:, :, 0] != PADDING).sum(1)
    page.text(
        "Sequences may also consist of vectors. An MNIST digit, read from left to right, is a "
        f"sequence of columns of {x.shape[2]} pixels, from the first with ink to the last: "
        f"{lengths.min()} to {lengths.max()} columns in the test digits. The net is the same, with "
        "columns in place of embedded characters."
    )
    net = SequenceConv(x.shape[2], 10)
    parameters, inside, outside = _fit(page, net, (train, y), (test, y_test))
    row = ("digits by column", parameters, inside, outside)
    page.table(("sequences", "parameters", "training accuracy", "test accuracy"), [row])
    page.check("accuracy 95 % or more on digits of any width", outside >= 0.95, f"{outside:.2%}")
    shortest = lengths <= np.quantile(lengths, 0.1)
    narrow = float(np.mean((answers_of(page, net, test) == y_test)[shortest]))
    claim = f"and 90 % or more on the narrowest tenth, up to {lengths[shortest].max()} columns"
    page.check(claim, narrow >= 0.9, f"{narrow:.2%}")


def columns_of(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(N, 1, H, W) -> (N, W, H): the columns from the first with ink to the last, then PADDING."""
    columns = images[:, 0].transpose(0, 2, 1)
    ink = columns.max(2) > 0.2
    first, width = ink.argmax(1), ink.shape[1]
    last = width - ink[:, ::-1].argmax(1)
    moved = np.minimum(first[:, None] + np.arange(width), width - 1)
    sequences = np.take_along_axis(columns, moved[:, :, None], 1)
    sequences[np.arange(width) >= (last - first)[:, None]] = PADDING
    return sequences.astype(np.float32)
