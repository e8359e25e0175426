"""Shallow networks: fixed features, and one layer of weights that is trained.

The loss is convex in those weights, so that theory says how fast descent comes down: see
`hessian_norm`. Least squares makes it linear regression, cross-entropy logistic regression.
"""

from __future__ import annotations

import math

import gpudl
from gpudl import nn
from gpudl.models.registry import register
from gpudl.tensor import Tensor


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
        self.register_buffer("weight", gpudl.zeros(features, inputs))
        self.register_buffer("bias", gpudl.zeros(features))
        nn.init.normal_(self.weight, std=1 / width)
        nn.init.uniform_(self.bias, 0, 2 * math.pi)

    def forward(self, input: Tensor) -> Tensor:
        scale = math.sqrt(2 / len(self.bias))
        return scale * nn.functional.linear(input, self.weight, self.bias).cos()


class GaussianFeatures(nn.Module):
    """(N, inputs) -> (N, centres): exp(-|x - c|²/(2 width²)) for each centre c.

    centres: (K, inputs), training samples as a rule: then a sum of the features with weights is any
    function of the kernel method with these samples.
    """

    centres: Tensor

    def __init__(self, centres: Tensor, width: float) -> None:
        super().__init__()
        self.register_buffer("centres", centres)
        self.width = width

    def forward(self, input: Tensor) -> Tensor:
        near = 2 * input @ self.centres.T
        squares = input.square().sum(1, keepdim=True) + self.centres.square().sum(1)
        return ((near - squares) / (2 * self.width**2)).exp()


class ShallowNet(nn.Module):
    """(N, …) -> (N, outputs): a linear layer on features of the flattened input.

    features: a module of (N, inputs) -> (N, width), or None for the inputs themselves.
    """

    def __init__(self, width: int, outputs: int, features: nn.Module | None = None) -> None:
        super().__init__()
        self.features = features if features is not None else nn.Identity()
        self.linear = nn.Linear(width, outputs)

    def forward(self, input: Tensor) -> Tensor:
        return self.linear(self.features(input.flatten(1)))  # type: ignore[no-any-return]


def hessian_norm(features: Tensor, loss: str = "least squares", iterations: int = 100) -> float:
    """L, the largest curvature of the loss's mean over the samples, by power iteration.

    features: (N, width), with a column of ones for a bias. With Z the features, the Hessian of the
    mean of |Z w - t|²/2 is ZᵀZ/N. That of the cross-entropy of two classes is at most a quarter of
    it, of any number of classes at most half (Böhning, Multinomial logistic regression algorithm,
    Annals of the Institute of Statistical Mathematics 44, 1992). Descent with step 1/L never goes
    up, and from 2/L on least squares diverges.
    """
    factors = {"least squares": 1.0, "logistic": 0.25, "softmax": 0.5}
    if loss not in factors:
        raise ValueError(f"hessian_norm: loss: {loss!r}, expected one of {', '.join(factors)}")
    vector = gpudl.ones(features.shape[1], 1, dtype=features.dtype, device=features.device)
    with gpudl.no_grad():
        for _ in range(iterations):
            vector = features.T @ (features @ (vector / vector.norm()))
        return factors[loss] * float(vector.norm().item()) / len(features)


class Average:
    """The mean of a tensor's values over time, in w̄ ← w̄ + (w - w̄)/t.

    Of the steps of stochastic descent it converges faster than they do (Polyak and Juditsky,
    Acceleration of stochastic approximation by averaging, SIAM J. Control 30, 1992; Ruppert 1988).
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.count = 0
        self.value = gpudl.zeros_like(tensor)

    def update(self) -> None:
        self.count += 1
        with gpudl.no_grad():
            self.value.add_(self.tensor - self.value, alpha=1 / self.count)


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
    """One layer from pixels to classes"""
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
    """Random cosine features, which stand for a Gaussian kernel, and one trained layer"""
    pixels = in_channels * image_size**2
    return ShallowNet(features, num_classes, CosineFeatures(pixels, features, width))
