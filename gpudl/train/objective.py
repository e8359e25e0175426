"""What one step of a training does with a batch, and how a pass over the test part is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gpudl.autograd.tape import no_grad
from gpudl.core import random
from gpudl.nn.utils import clip_grad_norm_
from gpudl.train.metrics import Evaluation, class_logits, evaluate

AUXILIARY = 0.3
JUDGING = (0, 1, 0)  # seed, stream and offset of draws while judging; a training's stream is 0
Batch = tuple[Any, ...]
Between = Callable[[], None]


def nothing() -> None:
    """The `between` of a pass that nobody interrupts."""


class Measured(NamedTuple):
    """What a batch gave. loss: its mean, a scalar Tensor. size: how many that is the mean of.

    correct: how many of them were right, None where there is no right and wrong. others: further
    means by name, scalar Tensors.
    """

    loss: Any
    size: int
    correct: Any = None
    others: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Scores:
    """A model's means over a data set: the loss and what else was measured, by name."""

    loss: float
    others: dict[str, float] = field(default_factory=dict)


class Objective:
    """How a model is trained and judged on batches; a subclass says what the batches are.

    unit: what is counted, in the plural. counts_right: whether there is an accuracy. clip: the most
    that the norm of all gradients may be.
    """

    unit = "images"
    counts_right = False
    clip: float | None = None

    def measure(self, model: Any, batch: Batch) -> Measured:
        """The loss on one batch, differentiable."""
        raise TypeError(f"{type(self).__name__} defines no measure()")

    def train_step(self, model: Any, optimizer: Any, batch: Batch) -> Measured:
        """One step of the optimizer on one batch."""
        optimizer.zero_grad()
        measured = self.measure(model, batch)
        measured.loss.backward()
        if self.clip is not None:
            clip_grad_norm_(model.parameters(), self.clip)
        optimizer.step()
        return measured

    def evaluate(
        self, model: Any, batches: Iterable[Batch], between: Between = nothing
    ) -> Scores | Evaluation:
        """Judge the model in evaluation mode. between: called before each batch; what it raises
        ends the evaluation."""
        with evaluation_mode(model):
            return mean_scores(self.measure(model, batch) for batch in each(batches, between))


class Supervised(Objective):
    """Batches are (images, labels), of which the model makes logits (N, classes), or scores (N, 1)
    of the second of two classes: see `class_logits`.

    A model with auxiliary heads gives a tuple in training, its own logits first; the others' losses
    count 0.3 each (Szegedy et al. 2015, section 5).
    """

    counts_right = True

    def __init__(
        self, loss: Callable[[Any, Any], Any], clip: float | None = None, unit: str = "images"
    ) -> None:
        self.loss, self.clip, self.unit = loss, clip, unit

    def measure(self, model: Any, batch: Batch) -> Measured:
        images, labels = batch
        found = model(images)
        logits, *heads = map(class_logits, found if isinstance(found, tuple) else (found,))
        loss = self.loss(logits, labels)
        for head in heads:
            loss = loss + self.loss(head, labels) * AUXILIARY
        correct = (logits.array.argmax(axis=1) == labels.array).sum()
        return Measured(loss, len(labels), correct)

    def evaluate(
        self, model: Any, batches: Iterable[Batch], between: Between = nothing
    ) -> Evaluation:
        return evaluate(model, self.loss, batches, between)


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Without gradients and in evaluation mode; the model's own mode is put back after.

    What is drawn is the same every time, so that a model whose loss draws (a VAE's code) is judged
    alike during a training and later, and the numbers of a training do not move on.
    """
    was_training = model.training
    model.eval()
    try:
        with no_grad(), random.rng_state(JUDGING):
            yield
    finally:
        model.train(was_training)


def each(batches: Iterable[Batch], between: Between) -> Iterator[Batch]:
    for batch in batches:
        between()
        yield batch


def mean_scores(measured: Iterable[Measured]) -> Scores:
    """The means over all batches, each weighted by its size. Raises ValueError without any."""
    sums: dict[str, float] = {}
    count = 0
    for one in measured:
        count += one.size
        for name, value in {"loss": one.loss, **one.others}.items():
            sums[name] = sums.get(name, 0.0) + value.item() * one.size
    if not count:
        raise ValueError("evaluate: batches: there are none; give a loader with samples")
    means = {name: value / count for name, value in sums.items()}
    return Scores(means.pop("loss"), means)
