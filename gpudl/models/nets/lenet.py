"""LeNet-5: LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document
Recognition, Proceedings of the IEEE 86 (1998), in its usual modern form: all channels connected,
max pooling, ReLU."""

from __future__ import annotations

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.registry import register


class LeNet5(nn.Module):
    """(N, in_channels, 28, 28) -> (N, num_classes) logits."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        )

    def forward(self, input: Tensor) -> Tensor:
        features = self.features(input)
        return self.classifier(features)


@register(
    input_shape=(1, 28, 28), dataset="digits", source="LeCun, Bottou, Bengio and Haffner", year=1998
)
def lenet5(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """LeNet-5, the convolutional network that read cheques, in its modern form"""
    return LeNet5(num_classes, in_channels)
