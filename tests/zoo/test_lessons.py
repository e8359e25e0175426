"""The quantities that the lessons derive from their curves."""

import numpy as np

from gpudl.zoo.pages.lessons import stopping_point
from gpudl.zoo.pages.lessons_of_descent import curvature, pauses


def test_training_stops_where_no_better_epoch_follows_soon():
    assert stopping_point(np.array([3, 2, 1, 2, 2, 2, 2, 2, 0.5])) == 2
    assert stopping_point(np.array([3, 2, 1, 2, 2, 2, 2, 0.5])) == 7
    assert stopping_point(np.array([1.0])) == 0


def test_pauses_are_counted_where_the_gradient_grows_again():
    assert pauses(np.array([0, 1, 2, 1, 2, 3, 1, 0.9, 0.5])) == 1
    assert pauses(np.array([2, 1, 2, 1, 2])) == 2
    assert pauses(np.linspace(1, 0, 9)) == 0


def test_curvature_is_even_for_white_inputs_and_uneven_for_positive_ones():
    white = np.random.default_rng(0).standard_normal((4000, 1, 4, 4))
    assert curvature(white) < 1.3
    assert curvature(white + 3) > 8
