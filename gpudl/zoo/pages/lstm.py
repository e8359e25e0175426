"""LSTM and GRU compared with Elman's net as character-level language models."""

from __future__ import annotations

import math

from gpudl import models, nn
from gpudl.data import Split
from gpudl.train import Row
from gpudl.zoo.language import BATCH, CLIP, WINDOW, shakespeare, show_sample, train_on_text
from gpudl.zoo.page import Page, page
from gpudl.zoo.recipes import recipe_table

NETS = {"char_rnn": ("Elman", 2e-3), "char_gru": ("GRU", 4e-3), "char_lstm": ("LSTM", 4e-3)}
HIDDEN, EPOCHS = 128, 3
RECIPES = ("char-lstm-256-shakespeare", "char-lstm-shakespeare", "char-gru-shakespeare")


@page("LSTM and GRU", minutes=4)
def lstm(page: Page) -> None:
    """Nets with gated states: Hochreiter and Schmidhuber, Long Short-Term Memory, Neural
    Computation 9 (1997), with the forget gate of Gers, Schmidhuber and Cummins (2000); Cho et al.,
    EMNLP 2014. They predict the next character of Shakespeare's plays (Karpathy, char-rnn, 2015)
    and are compared with Elman's net of the same width, within minutes on one core."""
    split = shakespeare(page)
    epochs = page.pick(EPOCHS, 1)
    page.text(
        f"Each net has one layer of {HIDDEN} units. It is trained for {epochs} epochs on the first "
        f"nine tenths of the text, in windows of {WINDOW} characters and batches of {BATCH}, by "
        f"Adam with cosine decay from {_rates()}, and gradients clipped at norm {CLIP}. It is "
        "tested on the last tenth, read from the beginning with the state carried over. Guessing "
        f"uniformly costs {math.log(len(split.train.classes)):.2f} nats."
    )
    trained = {
        title: _train(page, model_name, split, lr) for model_name, (title, lr) in NETS.items()
    }
    histories = {title: history for title, (_, history) in trained.items()}
    rows = []
    for title, (net, history) in trained.items():
        last, parameters = history[-1], sum(p.numel() for p in net.parameters())
        rows.append((title, parameters, last.loss, last.test_loss, last.test_loss / math.log(2)))
    head = ("net", "parameters", "training nats", "test nats per character", "bits")
    page.table(head, rows, "Training: the mean over the last epoch. Test: after it")
    _draw(page, histories)
    found = {title: history[-1].test_loss for title, history in histories.items()}
    shown = ", ".join(f"{title} {loss:.3f}" for title, loss in found.items())
    gated = max(found["LSTM"], found["GRU"])
    page.check("gates help: LSTM and GRU have a lower loss", gated < found["Elman"], shown)
    page.check("LSTM below 1.9 nats per character", found["LSTM"] < 1.9, f"{found['LSTM']:.3f}")
    show_sample(page, trained["LSTM"][0], split, "the LSTM")
    recipe_table(page, *RECIPES)


def _rates() -> str:
    return ", ".join(f"rate {lr:g} ({title})" for title, lr in NETS.values())


def _train(page: Page, model_name: str, split: Split, lr: float) -> tuple[nn.Module, list[Row]]:
    net = models.create(model_name, hidden=HIDDEN)
    return net, train_on_text(page, net, split, EPOCHS, lr)


def _draw(page: Page, histories: dict[str, list[Row]]) -> None:
    with page.axes("curves", "Test loss after each epoch", size=(5, 3.2)) as axes:
        for title, history in histories.items():
            passes = [row.epoch for row in history]
            axes.plot(passes, [row.test_loss for row in history], marker="o", label=title)
        axes.set(xlabel="epoch", ylabel="nats per character")
        axes.set_xticks(passes)
        axes.legend()
