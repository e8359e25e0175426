"""Conv nets along texts of any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl import Tensor, no_grad, optim
from gpudl.data import forgeries
from gpudl.data.labelled_text import CONTEXT, KINDS, LONGEST, SHORTEST, unpadded
from gpudl.models.char_conv import TextConv, TextRNN
from gpudl.train.recipe import WarmCosine
from gpudl.train.tasks.text_classification import TEST, TRAIN
from gpudl.zoo.language import shakespeare
from gpudl.zoo.page import Page, page

Codes = npt.NDArray[np.int64]


@page("Sequences of any length", minutes=2)
def sequences(page: Page) -> None:
    """Convolutions in one dimension need no fixed length: Collobert and Weston, ICML 2008; Kim,
    EMNLP 2014. They read texts character by character, beside a bidirectional LSTM."""
    split = shakespeare(page)
    parts: list[Any] = list(split)
    vocabulary = len(parts[0].classes)
    counts = (page.pick(TRAIN, 128), page.pick(TEST, 64))
    sets = [
        forgeries(part, parts[0], count, seed=page.seed + place).arrays
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
        [(KINDS[truth[i]], show(test[i], parts[1].classes)) for i in (0, 1)],
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
        answers[name] = answers_of(page, net, test) == truth
    page.table(("net", "parameters", "training accuracy", "test accuracy"), rows)
    lengths = (test != vocabulary).sum(1)
    _by_length(page, answers, lengths)
    found = rows[0][3]
    page.check("convolutions tell more than 75 % of the texts", found > 0.75, f"{found:.2%}")
    right = answers["convolutions"]
    middle = (SHORTEST + LONGEST) // 2
    short, long = (float(np.mean(right[where])) for where in (lengths < middle, lengths >= middle))
    page.check("longer texts are told more surely", long > short, f"{long:.2%}, {short:.2%}")


def show(codes: Codes, classes: tuple[str, ...]) -> str:
    """A padded text as a cell of a table."""
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
    with page.axes("lengths", "Accuracy by the length of the text", size=(5, 3.2)) as axes:
        for name, right in answers.items():
            shares = [right[(lengths >= low) & (lengths < low + 10)].mean() for low in edges[:-1]]
            axes.plot(edges[:-1] + 5, shares, marker="o", label=name)
        axes.set(xlabel="characters", ylabel="accuracy")
        axes.legend()
