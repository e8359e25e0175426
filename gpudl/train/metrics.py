"""Metrics of a model, and the pass over a data set that computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.autograd.tape import no_grad
from gpudl.ops.shape.create import zeros_like
from gpudl.ops.shape.joining import cat
from gpudl.train.checkpoint import to_numpy
from gpudl.train.errors import TrainingError

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]


def softmax(logits: Floats) -> Floats:
    """Probabilities (N, classes) from logits (N, classes)."""
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = exp / exp.sum(axis=1, keepdims=True)
    return result


def require_numbers(values: Floats, what: str) -> None:
    """Raises TrainingError if one of a trained model's outputs is NaN or infinity."""
    if not np.isfinite(values).all():
        raise TrainingError(
            f"{what}: the model's output is NaN or infinity, so its weights or its config.json are "
            "damaged; train again"
        )


def are_classes(outputs: Any, labels: Any) -> bool:
    """Whether labels are integers (N,) and outputs have shape (N, classes), so that accuracy is
    defined."""
    return outputs.ndim == 2 and labels.ndim == 1 and labels.dtype.kind in "biu"


def class_logits(outputs: Any, labels: Any = None) -> Any:
    """Logits (N, classes) of a model's outputs.

    Scores (N, 1), above 0 for the second of two classes, become the logits (0, score), whose
    softmax is (σ(-score), σ(score)). Other outputs are returned unchanged, and so are outputs
    whose labels are not classes.
    """
    if outputs.ndim != 2 or outputs.shape[1] != 1:
        return outputs
    if labels is not None and not are_classes(outputs, labels):
        return outputs
    return cat([zeros_like(outputs), outputs], 1)


def accuracy(logits: Floats, labels: Integers) -> float:
    """Share of rows whose largest logit is the label's; NaN without rows."""
    return float(np.mean(logits.argmax(axis=1) == labels)) if len(labels) else float("nan")


def confusion_matrix(predictions: Integers, labels: Integers, classes: int) -> Integers:
    """Counts (classes, classes) by true class (rows) and predicted class (columns)."""
    cells = np.asarray(labels) * classes + np.asarray(predictions)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class Evaluation:
    """A model's logits for a data set, in its order.

    loss: the mean over all samples. logits: (N, classes). labels: (N,). For targets that are not
    classes, these are the model's outputs and the data's targets, and the accuracy is NaN.
    """

    loss: float
    logits: Floats
    labels: Integers

    @property
    def predictions(self) -> Integers:
        predictions: Integers = self.logits.argmax(axis=1)
        return predictions

    @property
    def probabilities(self) -> Floats:
        return softmax(self.logits)

    @property
    def correct(self) -> int:
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        if not are_classes(self.logits, self.labels):
            return float("nan")
        return accuracy(self.logits, self.labels)

    @property
    def confusion(self) -> Integers:
        return confusion_matrix(self.predictions, self.labels, self.logits.shape[1])

    @property
    def mistakes(self) -> Integers:
        """Indices of the misread samples, in descending order of the model's confidence."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        confidence = self.probabilities[wrong].max(axis=1)
        return wrong[np.argsort(-confidence, kind="stable")]


def evaluate(
    model: Any,
    loss: Callable[[Any, Any], Any],
    batches: Iterable[tuple[Any, ...]],
    between: Callable[[], None] = lambda: None,
    classify: Callable[[Any], Any] | None = None,
) -> Evaluation:
    """Run `model` in evaluation mode over batches of (images, labels), then restore its mode.

    loss: called as loss(logits, labels). between: called before each batch; an exception in it ends
    the evaluation. classify: maps images to logits; by default the model itself. Raises ValueError
    without batches.
    """
    classify = classify or model
    was_training = model.training
    model.eval()
    total, all_logits, all_labels = 0.0, [], []
    try:
        with no_grad():
            for images, labels in batches:
                between()
                logits = class_logits(classify(images), labels)
                total += loss(logits, labels).item() * len(labels)
                all_logits.append(to_numpy(logits))
                all_labels.append(to_numpy(labels))
    finally:
        model.train(was_training)
    if not all_labels:
        raise ValueError("evaluate: batches: got none; give a loader with samples")
    labels_seen = np.concatenate(all_labels)
    return Evaluation(total / len(labels_seen), np.concatenate(all_logits), labels_seen)
