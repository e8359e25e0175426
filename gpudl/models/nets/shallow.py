"""Shallow networks: fixed features and one trained layer.

The loss is convex in its weights, so theory predicts how fast descent converges: see
`hessian_norm`. Least squares gives linear regression, cross-entropy logistic regression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.readout import Readout
from gpudl.models.registry import register
from gpudl.ops.shape.create import arange, ones, zeros, zeros_like
from gpudl.ops.shape.joining import cat


class CosineFeatures(nn.Module):
    """(N, inputs) -> (N, features): z(x) = √(2/features) cos(W x + b), with W normal of variance
    1/width² and b uniform in [0, 2π).

    The mean of z(x)·z(x') over such W and b is exp(-|x - x'|²/(2 width²)), the Gaussian kernel.
    Source: Rahimi and Recht, Random Features for Large-Scale Kernel Machines, NIPS 2007.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, features: int, width: float) -> None:
        super().__init__()
        self.register_buffer("weight", zeros(features, inputs))
        self.register_buffer("bias", zeros(features))
        nn.init.normal_(self.weight, std=1 / width)
        nn.init.uniform_(self.bias, 0, 2 * math.pi)

    def forward(self, input: Tensor) -> Tensor:
        scale = math.sqrt(2 / len(self.bias))
        return scale * nn.functional.linear(input, self.weight, self.bias).cos()


class GaussianFeatures(nn.Module):
    """(N, inputs) -> (N, centres): exp(-|x - c|²/(2 width²)) for each centre c.

    centres: (K, inputs), usually training samples; a weighted sum of the features can then be any
    function of the kernel method on these samples.
    """

    centres: Tensor

    def __init__(self, centres: Tensor, width: float) -> None:
        super().__init__()
        self.register_buffer("centres", centres)
        self.width = width

    def forward(self, input: Tensor) -> Tensor:
        products = 2 * input @ self.centres.T
        squares = input.square().sum(1, keepdim=True) + self.centres.square().sum(1)
        return ((products - squares) / (2 * self.width**2)).exp()


class ShallowNet(nn.Module):
    """(N, …) -> (N, outputs): a linear layer on features of the flattened input.

    features: a module (N, inputs) -> (N, width), or None for the inputs themselves.
    """

    def __init__(self, width: int, outputs: int, features: nn.Module | None = None) -> None:
        super().__init__()
        self.features = features if features is not None else nn.Identity()
        self.linear = nn.Linear(width, outputs)

    def forward(self, input: Tensor) -> Tensor:
        return self.linear(self.features(input.flatten(1)))


def hessian_norm(features: Tensor, loss: str = "least squares", iterations: int = 100) -> float:
    """L, the largest curvature of the mean loss over the samples, by power iteration.

    features: (N, width), with a column of ones for a bias. With Z the features, the Hessian of the
    mean of |Z w - t|²/2 is ZᵀZ/N. For cross-entropy it is at most a quarter of that with two
    classes ("logistic") and half with more ("softmax"; Böhning, Multinomial logistic regression
    algorithm, Annals of the Institute of Statistical Mathematics 44, 1992). Descent with step 1/L
    never increases the loss; with steps above 2/L least squares diverges.
    """
    factors = {"least squares": 1.0, "logistic": 0.25, "softmax": 0.5}
    if loss not in factors:
        raise ValueError(f"hessian_norm: loss is {loss!r}; it must be one of {', '.join(factors)}")
    vector = ones(features.shape[1], 1, dtype=features.dtype, device=features.device)
    with no_grad():
        for _ in range(iterations):
            vector = features.T @ (features @ (vector / vector.norm()))
        return factors[loss] * float(vector.norm().item()) / len(features)


class Average:
    """The running mean of a tensor's values, w̄ ← w̄ + (w - w̄)/t.

    The averaged iterates of stochastic descent converge faster than the iterates (Polyak and
    Juditsky, Acceleration of stochastic approximation by averaging, SIAM J. Control 30, 1992;
    Ruppert 1988).
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.count = 0
        self.value = zeros_like(tensor)

    def update(self) -> None:
        self.count += 1
        with no_grad():
            self.value.add_(self.tensor - self.value, alpha=1 / self.count)


class LinearRegression(ShallowNet):
    """(N, …) -> (N, outputs): a linear layer trained on the squared error, with target 1 for an
    image's class and -1 for the others.

    Training mode uses the layer's weights, evaluation mode their average over `count` steps,
    `averaged`: (outputs, width + 1) with the biases last.
    """

    averaged: Tensor
    count: Tensor

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(width, outputs)
        self.register_buffer("averaged", zeros(outputs, width + 1))
        self.register_buffer("count", zeros(1))

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            return super().forward(input)
        flat = self.features(input.flatten(1))
        return nn.functional.linear(flat, self.averaged[:, :-1], self.averaged[:, -1])

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Half the squared distance from the targets, averaged over the images."""
        outputs = self(images)
        one_hot = labels.unsqueeze(1) == arange(outputs.shape[1], device=outputs.device)
        errors: Tensor = outputs - (2 * one_hot.to(outputs.dtype) - 1)
        return errors.square().sum(1).mean() / 2

    def classify(self, images: Tensor) -> Tensor:
        """(N, outputs) logits, assuming that outputs are targets plus normal noise of variance
        1."""
        return 2 * self(images)

    @no_grad()
    def average(self) -> None:
        """Add the current weights to the average."""
        self.count.add_(1)
        weight, bias = self.linear.parameters()
        weights = cat([weight, bias.unsqueeze(1)], 1)
        self.averaged.add_((weights - self.averaged) / self.count)

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> AveragedSteps:
        """For `gpudl train`."""
        return AveragedSteps(self, make_optimizer)


class AveragedSteps:
    """Descent steps whose weights the model averages."""

    def __init__(self, model: LinearRegression, make_optimizer: Callable[..., Any]) -> None:
        self.model = model
        self.optimizers: Mapping[str, Any] = {"optimizer": make_optimizer(model.parameters())}

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        optimizer = self.optimizers["optimizer"]
        optimizer.zero_grad()
        loss = self.model.loss(images, labels)
        loss.backward()
        optimizer.step()
        self.model.average()
        return {"loss": loss}


class GaussianNet(Readout):
    """(N, …) -> (N, num_classes) logits from Gaussian kernels centred on the first `centres`
    training images. width: of the kernel, for pixels in [0, 1]."""

    def __init__(self, inputs: int, num_classes: int, centres: int, width: float) -> None:
        super().__init__(centres)
        self.kernel = GaussianFeatures(zeros(centres, inputs), width)
        self.readout = nn.Linear(centres, num_classes)

    def features(self, images: Tensor) -> Tensor:
        return self.kernel(images.flatten(1))

    def teach(self, image: Tensor, number: int) -> None:
        self.kernel.centres[number] = image.flatten()


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Legendre; Gauss",
    year=1805,
    task="own",
    training={"epochs": 20, "optimizer": "sgd", "momentum": 0.0, "lr": 0.03, "schedule": "sqrt"},
)
def linear_regression(
    num_classes: int = 10, in_channels: int = 1, image_size: int = 16
) -> LinearRegression:
    """Least squares from pixels to one number per class, by averaged stochastic descent"""
    return LinearRegression(in_channels * image_size**2, num_classes)


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Broomhead and Lowe, Complex Systems 2",
    year=1988,
    task="own",
    training={"epochs": 20, "lr": 0.2, "schedule": "cosine"},
)
def gaussian_net(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 16,
    centres: int = 2000,
    width: float = 2.0,
) -> GaussianNet:
    """Gaussian kernels around 2000 training images and one trained layer"""
    return GaussianNet(in_channels * image_size**2, num_classes, centres, width)


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Cox",
    year=1958,
    training={"augment": "none"},
)
def logistic_regression(
    num_classes: int = 10, in_channels: int = 1, image_size: int = 16
) -> ShallowNet:
    """One linear layer from pixels to classes"""
    return ShallowNet(in_channels * image_size**2, num_classes)


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Rahimi and Recht",
    year=2007,
    training={"augment": "none", "lr": 0.05},
)
def cosine_net(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 16,
    features: int = 2000,
    width: float = 10.0,
) -> ShallowNet:
    """Random cosine features, which approximate a Gaussian kernel, and one trained layer"""
    pixels = in_channels * image_size**2
    return ShallowNet(features, num_classes, CosineFeatures(pixels, features, width))
