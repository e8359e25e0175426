"""Images without labels, trained with the model's own loss: autoencoders of all kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import models
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.data import Split
from gpudl.train.checkpoint import to_numpy
from gpudl.train.config import Config, Data, Training
from gpudl.train.errors import TrainingError
from gpudl.train.objective import Batch, Measured, Objective, evaluation_mode
from gpudl.train.picture import framing
from gpudl.train.tasks.base import Answer, Finished, Task

SHOWN = 16  # images and reconstructions
SAMPLES = 64


class OwnLoss(Objective):
    """The model's `loss(images)`: a scalar, or scalars by name with "loss" among them."""

    def __init__(self, clip: float | None = None) -> None:
        self.clip = clip

    def measure(self, model: Any, batch: Batch) -> Measured:
        return named(model.loss(batch[0]), len(batch[0]))


class Images(Task):
    """Images in [0, 1], not normalized, and augmented only on request."""

    defaults = {"augment": "none"}

    def describe(self, split: Split) -> dict[str, Any]:
        part = split.train
        channels = part.shape[0]
        return {
            "classes": part.classes,
            "mean": (0.0,) * channels,
            "std": (1.0,) * channels,
            **framing(part),
        }

    def offers(self, info: models.Info, split: Split, data: Data) -> dict[str, Any]:
        offered = super().offers(info, split, data)
        return offered | ({"num_classes": len(data.classes)} if data.classes else {})

    def draw(self, done: Finished) -> list[str]:
        """samples.png, if the model has `sample(count)`, and <name>.png for each entry of its
        `pictures()`. Both return images (N, C, H, W) in [0, 1]."""
        from gpudl.train.report import draw_grid

        shown, model = {}, done.model
        with evaluation_mode(model):
            if hasattr(model, "sample"):
                shown["samples"] = model.sample(SAMPLES)
            if hasattr(model, "pictures"):
                shown |= model.pictures()
        paths = {name: done.place(f"{name}.png") for name in shown}
        for name, images in shown.items():
            title = f"{done.config.model}: {name.replace('_', ' ')}"
            draw_grid(paths[name], [np.clip(to_numpy(images), 0, 1)], [], title)
        return [path.name for path in paths.values()]


class Reconstruction(Images):
    """The model has `loss(images)`; its forward may return images of the same size."""

    name = "reconstruction"

    def check(self, info: models.Info, model: Any, config: Config) -> None:
        require_method(info, model, "loss", "loss(images)")

    def answer(self, model: Any) -> Answer | None:
        return Answer.IMAGES

    def objective(self, training: Training) -> Objective:
        return OwnLoss(training.clip)

    def draw(self, done: Finished) -> list[str]:
        """samples.png, and reconstructions.png if the model returns images."""
        from gpudl.train.report import draw_grid

        names = super().draw(done)
        images = done.split.test.batch(np.arange(min(SHOWN, len(done.split.test))))[0]
        images = images / np.float32(255) if images.dtype == np.uint8 else images
        reconstructions = reconstruct(done.model, images)
        if reconstructions is None:
            return names
        path = done.place("reconstructions.png")
        title = f"{done.title}: test images and their reconstructions"
        draw_grid(path, [images, reconstructions], ["image", "reconstruction"], title)
        return [*names, path.name]


def reconstruct(model: Any, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """The model's reconstructions of images (N, C, H, W), both in [0, 1]; None if the output has
    another size."""
    device = next(model.parameters()).device
    with no_grad():
        outputs = model(Tensor(images.astype(np.float32), device=device))
    values = to_numpy(outputs[0] if isinstance(outputs, tuple) else outputs)
    if values.size != images.size:
        return None
    reconstructions: np.ndarray[Any, Any] = np.clip(values.reshape(images.shape), 0, 1)
    return reconstructions


def named(values: Any, size: int) -> Measured:
    """The Measured of a scalar, or of scalars by name with "loss" among them."""
    if not isinstance(values, dict):
        return Measured(values, size)
    if "loss" not in values:
        raise ValueError(f"the model returns {', '.join(values)}; one of them must be loss")
    others = {name: value for name, value in values.items() if name != "loss"}
    return Measured(values["loss"], size, others=others)


def require_method(info: models.Info, model: Any, method: str, signature: str) -> None:
    if not hasattr(model, method):
        raise TrainingError(
            f"{info.name}: is registered for the task {info.task}, but has no {signature}; "
            "define it, or register it for another task"
        )
