"""Accuracy, confusion matrix and evaluation against results computed by hand."""

import numpy as np
import pytest

import gpudl
from gpudl.train import Evaluation, accuracy, confusion_matrix, evaluate

LOGITS = np.float32([[2, 1, 0], [0, 5, 1], [9, 0, 0], [0, 0, 1]])
LABELS = np.array([0, 1, 2, 2])


def test_accuracy():
    assert accuracy(LOGITS, LABELS) == 0.75
    assert np.isnan(accuracy(LOGITS[:0], LABELS[:0]))


def test_confusion_matrix_has_true_classes_in_rows():
    matrix = confusion_matrix(LOGITS.argmax(1), LABELS, 3)
    np.testing.assert_array_equal(matrix, [[1, 0, 0], [0, 1, 0], [1, 0, 1]])


def test_evaluation():
    evaluation = Evaluation(0.5, LOGITS, LABELS)
    assert evaluation.correct == 3
    np.testing.assert_array_equal(evaluation.mistakes, [2])
    np.testing.assert_allclose(evaluation.probabilities.sum(1), 1, rtol=1e-6)
    unequal = Evaluation(0.5, np.float32([[1, 0], [9, 0], [5, 0]]), np.array([1, 1, 0]))
    np.testing.assert_array_equal(unequal.mistakes, [1, 0])


class Doubled:
    """A model that records the mode of each call."""

    training = True

    def __init__(self):
        self.modes = []

    def train(self, mode=True):
        self.training = mode

    def eval(self):
        self.train(False)

    def __call__(self, x):
        self.modes.append(self.training)
        return gpudl.Tensor(2 * x.array)


def test_evaluate_weights_batches_by_size_and_restores_the_mode():
    batches = [(gpudl.Tensor(LOGITS[:3]), LABELS[:3]), (gpudl.Tensor(LOGITS[3:]), LABELS[3:])]
    losses = iter([1.0, 5.0])
    model = Doubled()
    result = evaluate(model, lambda y, t: gpudl.Tensor(np.float32(next(losses))), batches)
    assert result.loss == (3 * 1.0 + 1 * 5.0) / 4
    np.testing.assert_array_equal(result.logits, 2 * LOGITS)
    assert model.modes == [False, False]
    assert model.training
    with pytest.raises(ValueError, match="batches: got none"):
        evaluate(model, lambda y, t: None, [])
