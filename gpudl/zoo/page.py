"""A page of the zoo: methods that add to it, and helpers for training and drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from gpudl.autograd.tensor import Tensor, tensor
from gpudl.data import Split, load
from gpudl.train.errors import TrainingError

Array = npt.NDArray[Any]
Arrays = tuple[Array, Array, Array, Array]
V = TypeVar("V")
Function = Callable[["Page"], None]

QUICK_TRAIN, QUICK_TEST, QUICK_STEPS = 256, 128, 2
MOST_BYTES = 150_000  # per picture


class Info(NamedTuple):
    """A page that can be written. minutes: the planned time of a full run on one core. needs: the
    packages it imports beyond those of gpudl."""

    name: str
    title: str
    minutes: float
    needs: tuple[str, ...]
    function: Function


class Published(NamedTuple):
    """A number reported in a paper, and ours."""

    what: str
    paper: str
    ours: str
    source: str


class Check(NamedTuple):
    """A claim made by a page, whether it holds, and what was measured."""

    claim: str
    holds: bool
    measured: str


PAGES: dict[str, Info] = {}


def page(
    title: str, minutes: float, needs: tuple[str, ...] = ("matplotlib",)
) -> Callable[[Function], Function]:
    """Decorator for a function that writes a page. The function's name, with dashes, becomes the
    page's; its docstring becomes the first paragraph."""

    def mark(function: Function) -> Function:
        name = function.__name__.replace("_", "-")
        PAGES[name] = Info(name, title, minutes, needs, function)
        return function

    return mark


def find(function: Function) -> Info:
    """The page that a function writes."""
    return PAGES[function.__name__.replace("_", "-")]


class Page:
    """Passed to a page's function: it collects text, tables and pictures, and loads data.

    quick: few steps on little data, for tests; claims are then recorded but not judged. folder:
    where the pictures are written.
    """

    def __init__(
        self, info: Info, folder: Path, quick: bool = False, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.info, self.folder = info, folder
        self.quick, self.seed, self.device = quick, seed, device
        self.parts: list[str] = []
        self.checks: list[Check] = []
        self.published: list[Published] = []
        self.data: dict[str, tuple[int, int]] = {}  # name: images used (for training, testing)

    # ------------------------------------------------------------------ contents

    def text(self, markdown: str) -> None:
        """A paragraph."""
        self.parts.append(markdown.strip())

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        """Add a table. Cells are strings, integers or floats. Raises TrainingError for NaN or
        infinity."""
        texts = [[self._cell(value) for value in row] for row in rows]
        numeric = [
            all(isinstance(row[i], (int, float, np.number)) for row in rows) and bool(rows)
            for i in range(len(head))
        ]
        rule = ["---:" if right else "---" for right in numeric]
        lines = [f"| {' | '.join(row)} |" for row in ([*head], rule, *texts)]
        self.parts.append("\n".join([*([f"*{caption}*", ""] if caption else []), *lines]))

    def check(self, claim: str, holds: bool | np.bool_, measured: str) -> None:
        """Add a claim and its measurement. A claim that does not hold fails a full run."""
        self.checks.append(Check(claim, bool(holds), measured))

    def beside(self, what: str, paper: Any, ours: Any, source: str) -> None:
        """Add a paper's number beside ours. source: for example "He et al. 2016, table 6".

        `what` mentions any difference in how ours was measured (less training, a smaller net).
        """
        self.published.append(Published(what, self._cell(paper), self._cell(ours), source))

    def image(self, name: str, pixels: Array, caption: str) -> None:
        """Add a picture of these pixels: (H, W) or (H, W, 3), uint8 or floats in [0, 1]."""
        from PIL import Image

        if pixels.dtype != np.uint8:
            if not bool(np.isfinite(pixels).all()):
                raise TrainingError(f"zoo {self.info.name}: image {name} is not finite everywhere")
            pixels = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
        Image.fromarray(pixels).save(self._picture(name, caption), optimize=True)
        self._check_size(name)

    @contextmanager
    def axes(
        self, name: str, caption: str, rows: int = 1, columns: int = 1, size: Any = None
    ) -> Iterator[Any]:
        """Matplotlib axes to draw on; the end of the `with` block adds them to the page.

        One axes, or an array (rows, columns) of them. size: (width, height) in inches.
        """
        from gpudl.train.report.figure import figure

        width, height = size or (4.5 * columns, 3.2 * rows)
        with figure(self._picture(name, caption), width, height) as drawn:
            yield drawn.subplots(rows, columns)
        self._check_size(name)

    def grid(
        self,
        images: Array,
        columns: int = 10,
        scale: int = 1,
        vmin: float | None = None,
        vmax: float | None = None,
    ) -> Array:
        """Images (N, H, W) or (N, C, H, W) tiled into one, as pixels for `image`.

        Each is stretched to its own range unless vmin and vmax give the values of black and white.
        scale: enlarge each pixel to scale x scale.
        """
        images = np.asarray(images, np.float32)
        images = images[:, None] if images.ndim == 3 else images
        low = images.min((1, 2, 3), keepdims=True) if vmin is None else vmin
        high = images.max((1, 2, 3), keepdims=True) if vmax is None else vmax
        images = np.clip((images - low) / np.maximum(high - low, 1e-12), 0, 1)
        images = images.repeat(scale, 2).repeat(scale, 3)
        count, channels, height, width = images.shape
        columns = min(columns, count)
        rows = -(-count // columns)
        canvas = np.ones((rows * (height + 2) - 2, columns * (width + 2) - 2, channels), np.float32)
        for i, tile in enumerate(images):
            top, left = i // columns * (height + 2), i % columns * (width + 2)
            canvas[top : top + height, left : left + width] = tile.transpose(1, 2, 0)
        return canvas[:, :, 0] if channels == 1 else canvas

    # ------------------------------------------------------------------ helpers

    def pick(self, full: V, quick: V) -> V:
        """`full` in a full run, `quick` in a quick one."""
        return quick if self.quick else full

    def tensor(self, array: Any, dtype: Any = None) -> Tensor:
        """A copy of an array on the page's device."""
        return tensor(array, dtype, self.device)

    @property
    def widest(self) -> npt.DTypeLike:
        """The widest float type of the device: kernels support only float32."""
        return np.float64 if self.device == "cpu" else np.float32

    def load(self, name: str, train: int | None = None, test: int | None = None) -> Arrays:
        """x_train, y_train, x_test, y_test of a data set: images (N, C, H, W) float32 in [0, 1],
        labels int64.

        train, test: use only this many, chosen by a fixed shuffle.
        """
        from gpudl.data.shuffle import permutation

        if self.quick:
            train = min(train or QUICK_TRAIN, QUICK_TRAIN)
            test = min(test or QUICK_TEST, QUICK_TEST)
        found: list[Array] = []
        for part, count in zip(_split(name), (train, test), strict=True):
            order = permutation(len(part), 0)[:count] if count else np.arange(len(part))
            images, labels = part.batch(order)
            scale = np.float32(255) if images.dtype == np.uint8 else np.float32(1)
            found += [images.astype(np.float32) / scale, labels]
        self.data[name] = (len(found[0]), len(found[2]))
        return found[0], found[1], found[2], found[3]

    def mnist(self, train: int | None = None, test: int | None = None) -> Arrays:
        return self.load("mnist", train, test)

    def fashion_mnist(self, train: int | None = None, test: int | None = None) -> Arrays:
        return self.load("fashion-mnist", train, test)

    def cifar10(self, train: int | None = None, test: int | None = None) -> Arrays:
        return self.load("cifar-10", train, test)

    def usps(self, train: int | None = None, test: int | None = None) -> Arrays:
        return self.load("usps", train, test)

    def fit(
        self,
        model: Any,
        train: tuple[Array, Array],
        test: tuple[Array, Array] | None = None,
        *,
        epochs: int,
        optimizer: Any,
        batch_size: int = 64,
        loss: Callable[[Any, Any], Any] | None = None,
        transform: Any = None,
        schedule: Callable[[int], Callable[[int], float]] | None = None,
    ) -> list[Any]:
        """Train a classifier and return its history, one `gpudl.train.Row` per epoch.

        train, test: inputs and labels. transform: changes the training batches, see
        `gpudl.data.transforms`. schedule: called with the total number of steps; returns the
        learning-rate factor as a function of the step (`gpudl.train.build.WarmCosine`).
        A quick run takes 2 steps.
        """
        from gpudl.data import ArrayDataset, Loader
        from gpudl.ops.loss.cross_entropy import cross_entropy
        from gpudl.optim.lr_scheduler import LambdaLR
        from gpudl.train import Schedule, Trainer

        if self.quick:
            train = train[0][: QUICK_STEPS * batch_size], train[1][: QUICK_STEPS * batch_size]
            epochs = 1
        loader = Loader(
            ArrayDataset(*train), batch_size, shuffle=True, transform=transform, seed=self.seed,
            device=self.device,
        )  # fmt: skip
        judged = Loader(ArrayDataset(*test), 256, device=self.device) if test else None
        callbacks: list[Any] = []
        if schedule is not None:
            callbacks.append(Schedule(LambdaLR(optimizer, schedule(epochs * len(loader)))))
        trainer = Trainer(
            model, optimizer, loss or cross_entropy, loader, judged, callbacks,
            progress=not self.quick,
        )  # fmt: skip
        return trainer.fit(epochs)

    # ------------------------------------------------------------------ private

    def _cell(self, value: Any) -> str:
        if isinstance(value, (float, np.floating)):
            if not math.isfinite(value):
                raise TrainingError(f"zoo {self.info.name}: a table holds {value}")
            return f"{value:.4g}"
        return f"{value:,}" if isinstance(value, (int, np.integer)) else str(value)

    def _picture(self, name: str, caption: str) -> Path:
        file = f"{self.info.name}-{name}.png"
        self.parts.append(f"![{caption}]({file})\n\n*{caption}*")
        return self.folder / file

    def _check_size(self, name: str) -> None:
        size = (self.folder / f"{self.info.name}-{name}.png").stat().st_size
        if size > MOST_BYTES:
            raise TrainingError(
                f"zoo {self.info.name}: picture {name} has {size:,} bytes; "
                f"draw less, at most {MOST_BYTES:,}"
            )


@cache  # several pages use CIFAR-10, which takes seconds to unpack
def _split(name: str) -> Split:
    return load(name)
