"""What a training step does with a batch, and how a model is evaluated on the test part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gpudl.autograd.tape import no_grad
from gpudl.core import random
from gpudl.nn.utils import clip_grad_norm_
from gpudl.train.metrics import Evaluation, are_classes, class_logits, evaluate

AUXILIARY = 0.3  # weight of the loss of an auxiliary head
JUDGING = (0, 1, 0)  # seed, stream and offset of draws in an evaluation; training uses stream 0
Batch = tuple[Any, ...]
Between = Callable[[], None]


def nothing() -> None:
    """The default `between`."""


class Measured(NamedTuple):
    """The measurements of a batch. loss: a mean, as a scalar Tensor. size: the number of items
    averaged.

    correct: the number of correct items; None if the task has no accuracy. others: further means
    by name, as scalar Tensors.
    """

    loss: Any
    size: int
    correct: Any = None
    others: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Scores:
    """A model's mean loss over a data set, and other means by name."""

    loss: float
    others: dict[str, float] = field(default_factory=dict)


class Objective:
    """How a model is trained and evaluated on batches; a subclass defines what the batches are.

    unit: the items counted, in the plural. clip: the maximum norm of all gradients together.
    """

    unit = "images"
    clip: float | None = None

    def measure(self, model: Any, batch: Batch) -> Measured:
        """The loss on one batch, differentiable."""
        raise TypeError(f"{type(self).__name__} must define measure()")

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
        """Evaluate the model in evaluation mode. between: called before each batch; an exception in
        it ends the evaluation."""
        with evaluation_mode(model):
            return mean_scores(self.measure(model, batch) for batch in each(batches, between))


class Supervised(Objective):
    """Batches are (inputs, targets). If the targets are classes, (N,) integers, the model returns
    logits (N, classes), or scores (N, 1) for the second of two classes: see `class_logits`. For
    other targets, the loss is computed from the unchanged outputs, without an accuracy.

    In training, a model with auxiliary heads returns (logits, *auxiliary_logits); each auxiliary
    loss is weighted by 0.3 (Szegedy et al. 2015, section 5).
    """

    def __init__(
        self, loss: Callable[[Any, Any], Any], clip: float | None = None, unit: str = "images"
    ) -> None:
        self.loss, self.clip, self.unit = loss, clip, unit

    def measure(self, model: Any, batch: Batch) -> Measured:
        if not isinstance(batch, tuple) or len(batch) != 2:
            got = f"{len(batch)} entries" if isinstance(batch, tuple) else type(batch).__name__
            raise ValueError(f"a batch must be (inputs, targets); this one is {got}")
        images, labels = batch
        outputs = model(images)
        logits, *heads = (
            class_logits(output, labels)
            for output in (outputs if isinstance(outputs, tuple) else (outputs,))
        )
        loss = self.loss(logits, labels)
        for head in heads:
            loss = loss + self.loss(head, labels) * AUXILIARY
        correct = None
        if are_classes(logits, labels):
            correct = (logits.array.argmax(axis=1) == labels.array).sum()
        return Measured(loss, len(labels), correct)

    def evaluate(
        self, model: Any, batches: Iterable[Batch], between: Between = nothing
    ) -> Evaluation:
        return evaluate(model, self.loss, batches, between)


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Turns off gradients and sets evaluation mode; restores the model's mode afterwards.

    Random numbers are the same every time, so a model whose loss draws some (a VAE's code) gets the
    same result during training and later. The random state of training does not change.
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
    """The means over all batches, weighted by their sizes. Raises ValueError without batches."""
    sums: dict[str, float] = {}
    count = 0
    for one in measured:
        count += one.size
        for name, value in {"loss": one.loss, **one.others}.items():
            sums[name] = sums.get(name, 0.0) + value.item() * one.size
    if not count:
        raise ValueError("evaluate: batches: got none; give a loader with samples")
    means = {name: value / count for name, value in sums.items()}
    return Scores(means.pop("loss"), means)
