"""Style transfer: Gatys, Ecker and Bethge, Image Style Transfer Using Convolutional Neural
Networks, CVPR 2016.

An image is changed by gradient descent until a trained net sees in it what it sees in one photo
(content: the features themselves), and how often it sees it together as in another (style: their
Gram matrices). Any stack of layers serves, such as the `features` of a net of the zoo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpudl import nn, no_grad
from gpudl.tensor import Tensor


class Step(NamedTuple):
    """Losses after one step, weighted as they are added up."""

    content: float
    style: float


def gram(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, C): mean products of the channels' values at the same pixel
    (equation 3, per pixel, so that images of different sizes compare)."""
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    return flat @ flat.transpose(1, 2) / (h * w)


def activations(layers: Iterable[nn.Module], x: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
    """Outputs of the layers of these numbers; those behind the last one do not run."""
    found: dict[int, Tensor] = {}
    for number, layer in enumerate(layers):
        if number > max(wanted):
            break
        x = layer(x)
        if number in wanted:
            found[number] = x
    if missing := sorted(set(wanted) - set(found)):
        raise ValueError(f"activations: there are no layers {missing}")
    return found


class _Wanted(NamedTuple):
    """What a layer is to show, and 1 / its mean square."""

    values: Tensor
    scale: float

    @classmethod
    def of(cls, values: Tensor) -> _Wanted:
        return cls(values, 1 / max((values * values).mean().item(), 1e-12))


def _relative(found: Tensor, wanted: _Wanted) -> Tensor:
    """Mean squared error over the mean square of what is wanted."""
    difference = found - wanted.values
    return (difference * difference).mean() * wanted.scale


def _mean(losses: list[Tensor]) -> Tensor:
    return sum(losses[1:], losses[0]) / len(losses)


class StyleTransfer:
    """The two losses between an image and two photos.

    layers: of a trained net in eval mode, such as `net.features`; numbers in `content_layers` and
    `style_layers` count them. content: (1, C, H, W), style: (1, C, H', W'), normalised as the net
    wants them. style_weight: of the style's loss against the content's; the errors are
    relative to the mean square of what is wanted, so that layers count alike.
    """

    def __init__(
        self,
        layers: Iterable[nn.Module],
        content: Tensor,
        style: Tensor,
        content_layers: Sequence[int],
        style_layers: Sequence[int],
        style_weight: float = 1.0,
    ) -> None:
        self.layers = list(layers)
        self.style_weight = style_weight
        self.wanted = sorted({*content_layers, *style_layers})
        with no_grad():
            shown = activations(self.layers, content, list(content_layers))
            painted = activations(self.layers, style, list(style_layers))
            self.content = {i: _Wanted.of(y) for i, y in shown.items()}
            self.style = {i: _Wanted.of(gram(y)) for i, y in painted.items()}

    def losses(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(content, style): relative squared errors, means over the layers (equations 1 and 5)."""
        found = activations(self.layers, image, self.wanted)
        content = [_relative(found[i], wanted) for i, wanted in self.content.items()]
        style = [_relative(gram(found[i]), wanted) for i, wanted in self.style.items()]
        return _mean(content), _mean(style) * self.style_weight

    def paint(
        self,
        image: Tensor,
        optimizer: Callable[[list[Tensor]], Any],
        steps: int = 200,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ) -> tuple[Tensor, list[Step]]:
        """Change a copy of `image`; the losses before each step.

        optimizer: makes one of gpudl.optim for a list of tensors. low, high: black and white as the
        net sees them, (C, 1, 1), between which the image is kept.
        """
        painted = Tensor(np.array(image.numpy()), device=image.device, requires_grad=True)
        descent = optimizer([painted])
        history: list[Step] = []

        def closure() -> Tensor:
            descent.zero_grad()
            content, style = self.losses(painted)
            loss = content + style
            loss.backward()
            history.append(Step(content.item(), style.item()))
            return loss

        for _ in range(steps):
            descent.step(closure)
            if low is not None and high is not None:
                with no_grad():
                    painted.copy_(painted.maximum(low).minimum(high))
        return painted.detach(), history
