"""The Neocognitron and complex cells: responses that are invariant to shifts and rotations."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.models.nets.lenet_codes import COLUMNS, ROWS, codes
from gpudl.models.nets.neocognitron import Neocognitron
from gpudl.models.nets.neocognitron_reader import NeocognitronReader
from gpudl.models.nets.simple_complex import ComplexCells, cyclic_shifts, rotate, rotations
from gpudl.zoo.page import Page, page
from gpudl.zoo.unsupervised import mapped

DIGITS, SIDE = 5, 16
MOVES = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (0, 2), (0, -2), (2, 0))
TURNS, TEMPLATES = 24, 300
PLANES, FAINT = 6, 0.1  # planes drawn per layer; least strength relative to the strongest


@page("Neocognitron, simple and complex cells", minutes=1)
def neocognitron(page: Page) -> None:
    """Fukushima's Neocognitron (Biological Cybernetics 36, 1980) learns to distinguish digits
    without labels: S-cells compete to learn features, and C-cells recognise these features when
    they have shifted. The second part isolates the idea: simple cells compare the input with
    transformed copies of a template, and complex cells pool their responses (Hubel and Wiesel
    1962)."""
    _five_digits(page)
    x, y, x_test, y_test = page.usps(train=2000, test=1000)
    _features(page, x, y, x_test, y_test)
    _shifts(page, x_test)
    _turned(page, x[:, 0], y, x_test[:, 0], y_test)


def _drawn(down: int = 0, right: int = 0) -> Any:
    """The first digits of our own drawing, 7x12, centred in 16x16 pixels, then shifted."""
    images = np.zeros((DIGITS, 1, SIDE, SIDE), np.float32)
    ink = codes(DIGITS).reshape(-1, ROWS, COLUMNS) > 0
    images[:, 0, 2 + down : 2 + down + ROWS, 4 + right : 4 + right + COLUMNS] = ink
    return images


def _five_digits(page: Page) -> None:
    net = Neocognitron().to(page.device)
    learned = net.learn(page.tensor(_drawn()), passes=page.pick(8, 1))
    known = _cells(page, net, _drawn())
    rows, kept = [], 0
    for down, right in MOVES:
        found = _cells(page, net, _drawn(down, right))
        kept += sum(a == b for a, b in zip(found, known, strict=True))
        rows.append((f"{down} down, {right} right", *map(str, found)))
    page.text(
        f"The net is trained on the digits 0 to {DIGITS - 1}, as drawn for the codes of LeNet-5. "
        f"In the three S-layers, {', '.join(map(str, learned.values()))} planes learn a feature. "
        "The table gives the index of the strongest cell in the last layer, or a dash if none "
        "responds."
    )
    page.table(("shift", *map(str, range(DIGITS))), rows,
               caption="Cells of C3 by digit and shift; only the unshifted digits were used in "
               "training")  # fmt: skip
    share = kept / (DIGITS * len(MOVES))
    page.check(f"{DIGITS} digits activate {DIGITS} different cells", len(set(known)) == DIGITS,
               ", ".join(map(str, known)))  # fmt: skip
    page.check("the same cells recognise 90 % or more of the shifted digits", share >= 0.9,
               f"{share:.0%} over {len(MOVES)} shifts")  # fmt: skip
    _draw_layers(page, net)


def _cells(page: Page, net: Neocognitron, images: Any) -> list[Any]:
    """The strongest cell of the last layer for each image."""
    answers = net(page.tensor(images)).numpy()
    return [int(a.argmax()) if a.max() > 0 else "–" for a in answers]


def _draw_layers(page: Page, net: Neocognitron) -> None:
    excitation = net.s1.excitation.numpy()[:, 0]
    page.image("features", page.grid(excitation, columns=12, scale=6),
               "The 5x5 features learned by the 24 planes of S1")  # fmt: skip
    images = _drawn()[2:4]
    names = ["image", "S1", "C1", "S2", "C2", "S3", "C3"]
    caption = (
        "Two digits, layer by layer: the planes with the strongest responses, strongest first, "
        "each scaled to its own maximum; planes below a tenth of the strongest are omitted"
    )
    size = (0.55 * (2 * PLANES + 1), 0.6 * len(names))
    with page.axes("layers", caption, len(names), 2 * PLANES + 1, size) as axes:
        for axis in axes.flat:
            axis.axis("off")
        for digit in (0, 1):
            answers = net.layers(page.tensor(images[digit : digit + 1]))
            shown = [images[digit], *(answer.numpy()[0] for answer in answers.values())]
            for row, planes in zip(axes, shown, strict=True):
                _draw_planes(row[digit * (PLANES + 1) :], planes)
        for row, name in zip(axes, names, strict=True):
            row[0].text(-0.2, 0.5, name, ha="right", va="center", transform=row[0].transAxes)


def _draw_planes(axes: Any, planes: Any) -> None:
    """Draws the planes (count, H, W) that reach FAINT times the strongest, at most PLANES."""
    most = planes.max((1, 2))
    for axis, number in zip(axes, np.argsort(-most, kind="stable")[:PLANES], strict=False):
        if most[number] >= FAINT * most.max():
            axis.imshow(planes[number], cmap="gray", vmin=0, vmax=most[number])
            axis.set(xticks=(), yticks=())
            axis.axis("on")
            axis.spines[:].set_visible(True)  # the last layer has one cell per plane, all white


def _features(page: Page, x: Any, y: Any, x_test: Any, y_test: Any) -> None:
    """Linear classifiers on pixels, and on C-cells trained without labels."""
    net = NeocognitronReader(10, patterns=page.pick(100, 5)).to(page.device)
    taught = net.learn(page.tensor(x[: 2 * net.patterns]))
    places = ((0, 0), (1, 1), (2, 0))
    moved = [_moved(x_test, *place) for place in places]
    rows, found = [], {}
    for name in ("pixels", "C1", "C2"):
        weights = _least_squares(_seen(page, net, name, x), y)
        found[name] = [_share(_seen(page, net, name, images), y_test, weights) for images in moved]
        rows.append((name, *(f"{share:.2%}" for share in found[name])))
    page.table(
        ("linear classifier on", *(f"{down} down, {right} right" for down, right in places)),
        rows,
        caption=f"USPS: test accuracy by shift, after training on {len(x):,} unshifted digits. The "
        f"S-cells below C1 and C2 were trained first, without labels, on {taught} of them",
    )
    for i, what in ((0, "digits"), (1, "shifted digits")):
        page.check(
            f"a linear classifier on C-cells reads {what} better than one on pixels",
            min(found["C1"][i], found["C2"][i]) > found["pixels"][i],
            f"{found['C1'][i]:.2%} and {found['C2'][i]:.2%} against {found['pixels'][i]:.2%}",
        )


def _moved(images: Any, down: int, right: int) -> Any:
    """The images, shifted, with background moved in."""
    padded = np.pad(images, [(0, 0), (0, 0), (down, 0), (right, 0)])
    return padded[:, :, :SIDE, :SIDE]


def _seen(page: Page, net: NeocognitronReader, name: str, images: Any) -> Any:
    """(N, features): the classifier's input for images, from one layer."""
    if name == "pixels":
        return images.reshape(len(images), -1)
    layer = net.features if name == "C2" else lambda part: net.c1(net.s1(part)).flatten(1)
    return mapped(page, layer, images, 250)


def _shifts(page: Page, images: Any) -> None:
    """A complex cell over all cyclic shifts is invariant to shifts of its input."""
    templates = images[:3, 0]
    cells = ComplexCells(templates, cyclic_shifts(SIDE)).to(page.device)
    digit = images[3:4]
    moved = np.roll(digit, (3, -4), axis=(2, 3))
    inputs = [page.tensor(image) for image in (digit, moved)]
    maps = [cells.simple(image).numpy()[0].reshape(-1, SIDE, SIDE) for image in inputs]
    tiles = np.concatenate([templates, digit[0], maps[0], moved[0], maps[1]])
    scaled = [(t - t.min()) / np.ptp(t) for t in tiles]
    blank = np.ones_like(scaled[0])
    rows = [blank, *scaled[:3], scaled[3], *scaled[4:7], scaled[7], *scaled[8:11]]
    page.image(
        "simple",
        page.grid(np.stack(rows), columns=4, scale=4, vmin=0, vmax=1),
        "Top: three templates. Below: a digit and the simple cells of each template, one for each "
        "of 256 shifts. Last: the digit shifted; the maps shift with it, their maxima stay the "
        "same",
    )
    before, after = (cells(image).numpy()[0] for image in inputs)
    change = float(np.abs(after / before - 1).max())
    page.check("complex cells over all cyclic shifts are invariant to them", change < 1e-5,
               f"relative change {change:.1e}")  # fmt: skip


def _turned(page: Page, x: Any, y: Any, x_test: Any, y_test: Any) -> None:
    """Pixels against complex cells, trained on upright and tested on rotated digits."""
    rng = np.random.default_rng(page.seed)
    angles = rng.uniform(0, 2 * np.pi, len(x_test))
    turned = np.stack([rotate(i, angle) for i, angle in zip(x_test, angles, strict=True)])
    cells = ComplexCells(x[: page.pick(TEMPLATES, 20)], rotations(TURNS)).to(page.device)
    rows, found = [], {}
    for name in ("pixels", "complex cells"):
        upright, judged, apart = (
            images.reshape(len(images), -1) if name == "pixels" else mapped(page, cells, images)
            for images in (x, x_test, turned)
        )
        weights = _least_squares(upright, y)
        found[name] = [_share(z, y_test, weights) for z in (judged, apart)]
        rows.append((name, *(f"{share:.2%}" for share in found[name])))
    page.table(
        ("linear classifier on", "upright digits", "rotated digits"),
        rows,
        caption=f"Test accuracy after training on {len(x):,} upright USPS digits; rotations by any "
        f"angle. Complex cells: {len(cells.templates)} templates in {TURNS} rotations each",
    )
    page.image("turned", page.grid(turned[:12], columns=12, scale=3), "Rotated digits")
    pixels, complex_ = (found[name][1] for name in ("pixels", "complex cells"))
    page.check("rotated digits: complex cells are 20 points more accurate than pixels",
               complex_ > pixels + 0.2, f"{complex_:.2%} against {pixels:.2%}")  # fmt: skip


def _least_squares(z: Any, labels: Any) -> Any:
    """Weights of a linear classifier, by least squares with a small ridge; the last row is the
    bias."""
    z = np.concatenate([z, np.ones((len(z), 1))], 1).astype(np.float64)
    gram = z.T @ z
    gram += 1e-4 * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.linalg.solve(gram, z.T @ (2.0 * np.eye(10)[labels] - 1))


def _share(z: Any, labels: Any, weights: Any) -> float:
    return float(np.mean((z @ weights[:-1] + weights[-1]).argmax(1) == labels))
