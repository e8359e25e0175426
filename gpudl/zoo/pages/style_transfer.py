"""Style transfer between two photos with a small VGG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import gpudl
from gpudl import models
from gpudl.data import transforms
from gpudl.data.sources import Layout, Remote, Source
from gpudl.models.nets.style_transfer import StyleTransfer
from gpudl.optim import Adam
from gpudl.zoo.cifar import standardized, train
from gpudl.zoo.page import Array, Page, page

CONTENT, STYLE = "chelsea", "coffee"
FOLDER = "https://raw.githubusercontent.com/scikit-image/scikit-image/v0.22.0/skimage/data/"
PHOTOS = Source(
    "photos",
    ("photos",),
    (Layout("png", ((f"{CONTENT}.png",), (f"{STYLE}.png",))),),
    (
        Remote(
            f"{FOLDER}coffee.png",
            "sha256:cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        ),
        Remote(
            f"{FOLDER}chelsea.png",
            "sha256:596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        ),
    ),
)  # CC0; R. Michetti, S. van der Walt
CONTENT_LAYERS = ("features.8",)  # of vgg_small
STYLE_LAYERS = tuple(f"features.{layer}" for layer in (2, 5, 9, 12, 16))
WEIGHTS = (1.0, 10.0, 100.0)


@page("Style transfer", minutes=2)
def style_transfer(page: Page) -> None:
    """A photo is repainted: its pixels are optimised until, in a trained net, its features match
    those of one photo and their Gram matrices, the texture, match those of another (Gatys, Ecker
    and Bethge, CVPR 2016). The net is the small VGG, trained briefly on CIFAR-10."""
    raw = page.cifar10(train=15_000, test=2000)
    mean, std = (getattr(raw[0], name)((0, 2, 3))[:, None, None] for name in ("mean", "std"))
    net = models.create("vgg_small")
    accuracy = train(page, net, standardized(raw), epochs=1, lr=0.05)[-1].test_accuracy
    net.eval().requires_grad_(False)
    size = page.pick(104, 32)
    photos = [photo(path, size) for path in PHOTOS.find(None).paths]
    content, style = (gpudl.tensor((x - mean) / std, device=page.device) for x in photos)
    low, high = (gpudl.tensor((x - mean) / std, device=page.device) for x in (0.0, 1.0))
    tiles, rows = [], []
    for weight in WEIGHTS:
        task = StyleTransfer(net, content, style, CONTENT_LAYERS, STYLE_LAYERS, style_weight=weight)
        steps = page.pick(100, 2)
        painted, history = task.paint(content, lambda p: Adam(p, lr=0.05), steps, low, high)
        tiles.append(painted.to("cpu").numpy()[0] * std + mean)
        first, last = history[0], history[-1]
        rows.append((weight, first.style / weight, last.style / weight, last.content))
    page.text(
        f"The net's test accuracy is {accuracy:.2%}. Painting starts from the content photo. "
        "Errors are relative squared errors |F - F'|²/|F'|² of features and Gram matrices, "
        f"averaged over layers. Photos: scikit-image's collection ({CONTENT} by S. van der Walt, "
        f"{STYLE} by R. Michetti), both CC0."
    )
    page.image(
        "photos",
        page.grid(np.stack([photos[0][0], photos[1][0], *tiles]), 5, 1, vmin=0, vmax=1),
        f"Content ({CONTENT}), style ({STYLE}), and paintings with increasing style weight.",
    )
    page.table(("style weight", "style error before", "after", "content error after"), rows)
    judge(page, rows)


def judge(page: Page, rows: list[Any]) -> None:
    least = rows[-1][2] / rows[-1][1]
    page.check("the style error falls below a tenth", least < 0.1, f"to {least:.2%}")
    errors = [row[2] for row in rows]
    text = ", ".join(f"{error:.4f}" for error in errors)
    page.check("more weight lowers the style error", errors == sorted(errors, reverse=True), text)


def photo(path: Path, size: int) -> Array:
    """The central square of a photo, (1, 3, size, size) in [0, 1]."""
    from PIL import Image

    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB"), np.uint8)
    side = min(pixels.shape[:2])
    top, left = ((extent - side) // 2 for extent in pixels.shape[:2])
    square = pixels[top : top + side, left : left + side].transpose(2, 0, 1)[None]
    return transforms.to_float(shrunk(square, size))


def shrunk(images: Array, size: int) -> Array:
    """Averages over the largest blocks of pixels that fit, then bilinear, which avoids aliasing."""
    factor = images.shape[2] // size
    if factor > 1:
        n, c, side = images.shape[0], images.shape[1], images.shape[2] // factor * factor
        blocks = images[:, :, :side, :side].reshape(n, c, side // factor, factor, -1, factor)
        images = blocks.mean((3, 5)).astype(np.uint8)
    return transforms.resize(images, size)
