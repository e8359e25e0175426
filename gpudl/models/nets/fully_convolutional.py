"""A fully convolutional net for images of any size: Matan, Burges, LeCun and Denker, NIPS 1991;
Long, Shelhamer and Darrell, Fully Convolutional Networks, CVPR 2015; Springenberg et al., Striving
for Simplicity, 2015."""

from __future__ import annotations

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.registry import register


class FullyConvolutional(nn.Module):
    """(N, in_channels, H, W) -> (N, num_classes) logits, for any H and W of at least 4.

    `scores` gives the class scores at each position of a grid with a quarter of the resolution; the
    logits are their means over the image.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, width: int = 24) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Conv2d(4 * width, num_classes, 1)

    def scores(self, input: Tensor) -> Tensor:
        """(N, num_classes, ⌈H/4⌉, ⌈W/4⌉)."""
        return self.classifier(self.features(input))

    def forward(self, input: Tensor) -> Tensor:
        return self.scores(input).mean((2, 3))


@register(
    input_shape=(1, 28, 28),
    dataset="mnist",
    source="Long, Shelhamer and Darrell, CVPR 2015",
    year=2015,
    training={"epochs": 5},
)
def fully_convolutional(
    num_classes: int = 10, in_channels: int = 1, width: int = 24
) -> FullyConvolutional:
    """A fully convolutional net for images of any size"""
    return FullyConvolutional(num_classes, in_channels, width)
