"""Style transfer: Gatys, Ecker and Bethge, Image Style Transfer Using Convolutional Neural
Networks, CVPR 2016.

Gradient descent changes an image until its features in a trained net match those of one photo
(content) and their Gram matrices match those of another (style). Any net whose layers output maps
works: VGG, AlexNet, LeNet, ResNet, GoogLeNet.
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
    """The weighted losses of one step."""

    content: float
    style: float


def gram(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, C): products of two channels, averaged over pixels (equation 3, but
    averaged, so that images of different sizes are comparable)."""
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    return flat @ flat.transpose(1, 2) / (h * w)


class _AllSeen(Exception):  # noqa: N818 (not an error)
    """All requested layers have run. Later ones are skipped, as they may not take this size."""


def activations(net: nn.Module, x: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
    """Outputs (N, C, H, W) by layer name, as in `net.named_modules()`, such as "features.3" or
    "layer1.0.conv2". Layers after the last requested one do not run.

    Raises ValueError for an unknown or unused layer, or one whose output is not (N, C, H, W).
    """
    layers = dict(net.named_modules())
    if missing := [name for name in wanted if name not in layers]:
        known = ", ".join(filter(None, layers))
        raise ValueError(f"style transfer: the net has no layer {missing[0]!r}; it has {known}")
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise ValueError(f"style transfer: the output of layer {name!r} must be (N, C, H, W)")
        outputs.setdefault(name, output)
        if len(outputs) == len(set(wanted)):
            raise _AllSeen

    with ExitStack() as hooks:
        for name in set(wanted):
            hook = layers[name].register_forward_hook(lambda _, __, y, name=name: keep(name, y))
            hooks.callback(hook.remove)
        try:
            net(x)
        except _AllSeen:
            return outputs
    unseen = sorted(set(wanted) - set(outputs))
    raise ValueError(f"style transfer: the net did not use {', '.join(unseen)}")


class _Target(NamedTuple):
    """Target values of a layer, and scale = 1 / their mean square."""

    values: Tensor
    scale: float

    @classmethod
    def of(cls, values: Tensor) -> _Target:
        return cls(values, 1 / max((values * values).mean().item(), 1e-12))


def _relative(values: Tensor, target: _Target) -> Tensor:
    """Mean squared error relative to the mean square of the target."""
    difference = values - target.values
    return (difference * difference).mean() * target.scale


def _mean(losses: list[Tensor]) -> Tensor:
    return sum(losses[1:], losses[0]) / len(losses)


class StyleTransfer:
    """The two losses between an image and two photos.

    net: trained, in eval mode. content_layers, style_layers: names, see `activations`. content: (1,
    C, H, W), style: (1, C, H', W'), normalised as the net expects. style_weight: weight of the
    style loss relative to the content loss. Errors are relative to the mean square of the target,
    so that all layers count equally.
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
            of_content = activations(net, content, content_layers)
            of_style = activations(net, style, style_layers)
            self.content = {name: _Target.of(of_content[name]) for name in content_layers}
            self.style = {name: _Target.of(gram(of_style[name])) for name in style_layers}

    def losses(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(content, style): relative squared errors, averaged over layers (equations 1 and 5)."""
        outputs = activations(self.net, image, self.wanted)
        content = [_relative(outputs[name], target) for name, target in self.content.items()]
        style = [_relative(gram(outputs[name]), target) for name, target in self.style.items()]
        return _mean(content), _mean(style) * self.style_weight

    def paint(
        self,
        image: Tensor,
        optimizer: Callable[[list[Tensor]], Any],
        steps: int = 200,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ) -> tuple[Tensor, list[Step]]:
        """Optimise a copy of `image`; returns it and the losses before each step.

        optimizer: creates an optimizer for a list of tensors. low, high: black and white as the net
        sees them, (C, 1, 1); the image is clamped between them. The losses are read from the device
        once, at the end, so that no step waits for the previous one.
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
