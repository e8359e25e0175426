"""Pictures of a training run: curves, filters, confusion matrix, misread images, predictions.

Matplotlib is imported only when a picture is drawn.
"""

from gpudl.train.report.confusion import draw_confusion
from gpudl.train.report.curves import draw_curves
from gpudl.train.report.filters import draw_filters
from gpudl.train.report.images import draw_grid, draw_mistakes, draw_prediction

__all__ = [
    "draw_confusion",
    "draw_curves",
    "draw_filters",
    "draw_grid",
    "draw_mistakes",
    "draw_prediction",
]
