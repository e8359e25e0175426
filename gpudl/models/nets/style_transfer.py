"""Style transfer: Gatys, Ecker and Bethge, Image Style Transfer Using Convolutional Neural
Networks, CVPR 2016.

An image is changed by gradient descent until a trained net sees in it what it sees in one photo
(content: the features themselves), and how often it sees it together as in another (style: their
Gram matrices). Any net whose layers give maps serves: VGG, AlexNet, LeNet, ResNet, GoogLeNet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.ops.shape.joining import stack


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


class _AllSeen(Exception):  # noqa: N818 (it is no error)
    """The layers that are wanted have run; what lies behind them need not, and may not fit images
    of another size than the net was made for."""


def activations(net: nn.Module, x: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
    """Outputs (N, C, H, W) of the layers of these names, `net.named_modules()`'s, such as
    "features.3" or "layer1.0.conv2"; what follows the last of them does not run.

    Raises ValueError for a name that the net lacks, or a layer that gives no maps.
    """
    layers = dict(net.named_modules())
    if missing := [name for name in wanted if name not in layers]:
        known = ", ".join(filter(None, layers))
        raise ValueError(f"style transfer: the net has no layer {missing[0]!r}; it has {known}")
    found: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise ValueError(f"style transfer: layer {name!r} gives no maps (N, C, H, W)")
        found.setdefault(name, output)
        if len(found) == len(set(wanted)):
            raise _AllSeen

    with ExitStack() as hooks:
        for name in set(wanted):
            hook = layers[name].register_forward_hook(lambda _, __, y, name=name: keep(name, y))
            hooks.callback(hook.remove)
        try:
            net(x)
        except _AllSeen:
            return found
    unseen = sorted(set(wanted) - set(found))
    raise ValueError(f"style transfer: the net did not use {', '.join(unseen)}")


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

    net: trained, in eval mode. content_layers, style_layers: names, see `activations`. content: (1,
    C, H, W), style: (1, C, H', W'), normalised as the net wants them. style_weight: of the
    style's loss against the content's; the errors are relative to the mean square of what is
    wanted, so that layers count alike.
    """

    def __init__(
        self,
        net: nn.Module,
        content: Tensor,
        style: Tensor,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        style_weight: float = 1.0,
    ) -> None:
        self.net = net
        self.style_weight = style_weight
        self.wanted = [*content_layers, *style_layers]
        with no_grad():
            shown = activations(net, content, content_layers)
            painted = activations(net, style, style_layers)
            self.content = {name: _Wanted.of(shown[name]) for name in content_layers}
            self.style = {name: _Wanted.of(gram(painted[name])) for name in style_layers}

    def losses(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(content, style): relative squared errors, means over the layers (equations 1 and 5)."""
        found = activations(self.net, image, self.wanted)
        content = [_relative(found[name], wanted) for name, wanted in self.content.items()]
        style = [_relative(gram(found[name]), wanted) for name, wanted in self.style.items()]
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
        net sees them, (C, 1, 1), between which the image is kept. The losses are read from the
        device once, at the end: a step does not wait for the one before.
        """
        painted = image.detach().clone()
        painted.requires_grad = True
        descent = optimizer([painted])
        losses: list[Tensor] = []
        for _ in range(steps):
            descent.zero_grad()
            content, style = self.losses(painted)
            (content + style).backward()
            losses += [content.detach(), style.detach()]
            descent.step()
            if low is not None and high is not None:
                with no_grad():
                    painted.copy_(painted.maximum(low).minimum(high))
        read = stack(losses).to("cpu").numpy().reshape(-1, 2).tolist() if losses else []
        return painted.detach(), [Step(*pair) for pair in read]
