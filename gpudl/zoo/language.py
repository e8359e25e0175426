"""Shared by the pages on language models: training on Tiny Shakespeare, and samples."""

from __future__ import annotations

from typing import Any

from gpudl import optim
from gpudl.data import Loader, Split, Streams, load
from gpudl.optim.lr_scheduler import LambdaLR
from gpudl.train import Progress, Row, Schedule, Trainer
from gpudl.train.build import WarmCosine
from gpudl.train.tasks.language import STREAMS, NextCharacter
from gpudl.train.text import continue_text
from gpudl.zoo.page import QUICK_STEPS, Page

NAME, BATCH, WINDOW, CLIP = "tiny-shakespeare", 32, 64, 1.0
TEMPERATURE = 0.8


def shakespeare(page: Page, window: int = WINDOW) -> Split:
    """Both parts in windows; only a few windows for a quick page."""
    split = load(NAME)
    parts: list[Any] = [part.windows(window) for part in split]  # type: ignore[attr-defined]
    if page.quick:
        parts = [part.windows(window, QUICK_STEPS * BATCH) for part in parts]
    page.data[NAME] = (len(parts[0].codes), len(parts[1].codes))
    return Split(*parts)


def train_on_text(page: Page, model: Any, split: Split, epochs: int, lr: float) -> list[Row]:
    """Train a language model with Adam, warm-up, cosine decay and clipped gradients; returns the
    history."""
    model.to(page.device)
    epochs = page.pick(epochs, 1)
    loader = Loader(split.train, BATCH, shuffle=True, seed=page.seed, device=page.device)
    test: Any = split.test
    judged = Loader(Streams(test, STREAMS), STREAMS, device=page.device)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    callbacks: list[Any] = [Schedule(LambdaLR(optimizer, WarmCosine(epochs * len(loader))))]
    callbacks += [] if page.quick else [Progress()]
    return Trainer(model, optimizer, NextCharacter(CLIP), loader, judged, callbacks).fit(epochs)


def show_sample(page: Page, model: Any, split: Split, name: str, length: int = 400) -> None:
    """Text that the model writes after "ROMEO:"."""
    classes = split.train.classes
    text = continue_text(model, classes, "ROMEO:\n", page.pick(length, 20), TEMPERATURE, page.seed)
    page.text(f"What {name} writes after `ROMEO:` (temperature {TEMPERATURE}):")
    page.text(f"```\n{text}\n```")
