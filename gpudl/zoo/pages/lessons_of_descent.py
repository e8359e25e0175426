"""Lessons about gradients: saddle points, batch normalisation, initialisation, input scaling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpudl import nn, optim
from gpudl.autograd.tensor import tensor
from gpudl.nn import init
from gpudl.ops.loss.cross_entropy import cross_entropy
from gpudl.zoo.lesson import ERROR, LOSS, Split, learn, percent, perceptron, place
from gpudl.zoo.page import Array, Page

# Saddle points: learning rate, steps, and standard deviations of the linear net's initial weights.
RATE, STEPS, STARTS = 0.4, 800, (1e-8, 1e-4, 1e-2, 1e-1)
DEEP, RATES, NORMALISED_PASSES = 5, (0.01, 0.1, 1.0), 5
LAYERS, WIDTH, INIT_PASSES = 8, 64, 4
FILLS: dict[str, Callable[[Any], Any]] = {
    "zero": init.zeros_,
    "deviation 0.01": lambda w: init.normal_(w, 0, 0.01),
    "He": init.kaiming_normal_,
    "deviation 0.5": lambda w: init.normal_(w, 0, 0.5),
}
SCALES = (0.001, 0.01, 0.1)  # learning rates of the lesson on inputs
INPUT_PASSES = 3


def saddles(page: Page, images: Array, labels: Array) -> None:
    page.text(
        "## Saddle points\n\nThe smallest two-layer net is y = b·a·x. For x = y = 1 its loss is "
        "(1 - ab)²/2. At a = b = 0 the gradient vanishes, but this is not a minimum: the Hessian "
        "has the eigenvalues 1 and -1, so it is a saddle point. Gradient descent that starts "
        "nearby stalls before it finds the way down. A linear 196-32-10 net on 14x14 digits, with "
        "small initial weights, stalls again before each component of the classes that it learns, "
        "so the loss falls in steps (Saxe, McClelland and Ganguli 2014, arXiv:1312.6120)."
    )
    curves = {start: linear_net(page, images, labels, start) for start in STARTS}
    with page.axes("saddles", "Left: descent from near the saddle point of (1 - ab)²/2. Right: the "
                   "loss of a linear net on digits, by the standard deviation of its initial "
                   "weights",
                   1, 2) as axes:  # fmt: skip
        _landscape(page, axes[0])
        for start, (losses, _) in curves.items():
            axes[1].plot(losses, label=f"{start:g}")
        axes[1].set(xlabel="steps", ylabel="squared error / 2")
        axes[1].legend(title="initial weights")
    rows = []
    for start, (losses, slopes) in curves.items():
        half = int((losses < (losses[0] + losses[-1]) / 2).argmax())
        rows.append((f"{start:g}", float(slopes[0]), float(slopes.max()), half,
                     pauses(slopes)))  # fmt: skip
    page.table(
        ("initial weights", "initial gradient", "largest gradient", "steps to half the decrease",
         "later slowdowns"),
        rows, caption=f"Descent with learning rate {RATE}, started ever farther from the saddle",
    )  # fmt: skip
    (_, at_first, largest, long, often), (*_, short, _) = rows[0], rows[-1]
    page.check("near the saddle point the gradient is below 1 % of its maximum",
    at_first < largest / 100,
               f"{at_first:.2g} of {largest:.2g}")  # fmt: skip
    page.check("small initial weights stay on the plateau twice as long", long > 2 * short,
               f"{long} steps against {short}")  # fmt: skip
    page.check("it passes further saddle points: descent slows down again four times or more",
               often >= 4, f"{often} times")  # fmt: skip


def _landscape(page: Page, axis: Any) -> None:
    """Contours, and paths that start near the saddle point."""
    a, b = np.meshgrid(np.linspace(-1.6, 1.6, 81), np.linspace(-1.6, 1.6, 81))
    axis.contourf(a, b, (1 - a * b) ** 2 / 2, 20, cmap="Blues_r")
    for start in ((-1.4, 1.38), (-1.0, 0.9), (1.2, -1.21), (0.6, -0.64), (0.02, 0.01)):
        path = [np.array(start, np.float32)]
        for _ in range(page.pick(150, 5)):
            weights = tensor(path[-1], device=page.device, requires_grad=True)
            loss = (1 - weights[0] * weights[1]) ** 2 / 2
            loss.backward()
            path.append(path[-1] - np.float32(0.1) * np.asarray(weights.grad))
        axis.plot(*np.array(path).T, "o-", markersize=2, linewidth=0.8, color="C1")
    axis.plot(0, 0, "k+")
    axis.set(xlabel="a", ylabel="b")


def linear_net(page: Page, images: Array, labels: Array, start: float) -> tuple[Array, Array]:
    """Loss and gradient norm at each step of full-batch gradient descent."""
    small = images.reshape(len(images), 14, 2, 14, 2).mean((2, 4)).reshape(len(images), 196)
    x = place(page, (small - small.mean(0)).astype(np.float32))
    y = place(page, (np.eye(10)[labels] - 0.1).astype(np.float32))
    net = nn.Sequential(nn.Linear(196, 32, bias=False), nn.Linear(32, 10, bias=False))
    net.to(page.device)
    for weight in net.parameters():
        init.normal_(weight, 0, start)
    optimizer = optim.SGD(net.parameters(), lr=RATE)
    losses, slopes = [], []
    for _ in range(page.pick(STEPS, 4)):
        loss = ((net(x) - y) ** 2).sum() / (2 * len(images))
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        gradients = [np.asarray(p.grad) for p in net.parameters()]
        slopes.append(float(np.sqrt(sum((g * g).sum() for g in gradients))))
        optimizer.step()
    return np.array(losses), np.array(slopes)


def pauses(slopes: Array) -> int:
    """How often the gradient falls by a fifth and then grows by a quarter."""
    count, falling, high, low = 0, False, 0.0, 0.0
    for slope in map(float, slopes):
        high, low = max(high, slope), min(low, slope)
        if not falling and slope < 0.8 * high:
            falling, low = True, slope
        elif falling and slope > 1.25 * low:
            count, falling, high = count + 1, False, slope
    return count


def batch_norm(page: Page, part: Split, test: Split) -> None:
    page.text(
        f"## Batch normalisation\n\n{DEEP} layers of 100 sigmoid units, with and without batch "
        "normalisation before each activation (Ioffe and Szegedy 2015, section 4.1, use three "
        "layers), trained by SGD with momentum 0.9 at three learning rates. Without it the "
        "gradient fades from layer to layer."
    )

    def build(normalised: bool) -> nn.Sequential:
        layers: list[nn.Module] = [nn.Flatten()]
        for width in (784, *(100,) * (DEEP - 1)):
            layers += [nn.Linear(width, 100), *([nn.BatchNorm1d(100)] if normalised else [])]
            layers.append(nn.Sigmoid())
        return nn.Sequential(*layers, nn.Linear(100, 10))

    found: dict[tuple[bool, float], Array] = {}
    for rate in RATES:
        for normalised in (False, True):
            net = build(normalised).to(page.device)
            optimizer = optim.SGD(net.parameters(), lr=rate, momentum=0.9)
            curve = learn(page, net, part, {"test": test}, NORMALISED_PASSES, optimizer)
            found[normalised, rate] = curve["test"]
    page.table(
        ("learning rate", "test errors without batch norm", "with batch norm"),
        [(f"{rate}", *(percent(found[kind, rate][-1, ERROR]) for kind in (False, True)))
         for rate in RATES],
        caption=f"After {NORMALISED_PASSES} epochs on {len(part[0]):,} digits",
    )  # fmt: skip
    with page.axes("batch-norm", "Test loss with (solid) and without batch norm (dashed)") as axes:
        for i, rate in enumerate(RATES):
            axes.plot(found[True, rate][:, LOSS], color=f"C{i}", label=f"learning rate {rate}")
            axes.plot(found[False, rate][:, LOSS], "--", color=f"C{i}")
        axes.set(xlabel="epochs", ylabel="test loss, nats", ylim=(0, 3.5))
        axes.legend()
    plain, normal = (min(found[kind, r][-1, ERROR] for r in RATES) for kind in (False, True))
    page.check("at the best learning rate batch norm more than halves the test error",
               normal < plain / 2, f"{normal:.1%} against {plain:.1%}")  # fmt: skip


def initialisation(page: Page, part: Split, test: Split) -> None:
    page.text(
        f"## Initialisation\n\n{LAYERS} layers of {WIDTH} ReLU units. Each layer scales its signal "
        "by the standard deviation of its weights times the square root of half its number of "
        "inputs. Only if this factor is 1, as in He et al. 2015 (arXiv:1502.01852, equation 10), "
        "do signals and gradients neither vanish nor explode."
    )
    rows, sizes = [], {}
    for name, fill in FILLS.items():
        net = perceptron((784, *(WIDTH,) * LAYERS, 10)).to(page.device)
        _start(net, fill)
        signals, gradients = flow(page, net, (part[0][:200], part[1][:200]))
        sizes[name] = signals, gradients
        optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        curve = learn(page, net, part, {"test": test}, INIT_PASSES, optimizer)["test"]
        rows.append((name, float(signals[0]), float(signals[-1]), float(gradients[0]),
                     percent(curve[-1, ERROR])))  # fmt: skip
    page.table(("weights", "signal, first layer", "signal, last hidden layer",
                "gradient, first layer", f"test error, {INIT_PASSES} epochs"), rows)  # fmt: skip
    _draw_flow(page, sizes)
    errors = {row[0]: float(str(row[4]).rstrip("%")) for row in rows}
    ratio = sizes["He"][0][-1] / sizes["He"][0][0]
    page.check(f"He initialisation preserves the signal through {LAYERS} layers",
               0.2 < ratio < 5, f"last over first: {ratio:.2f}")  # fmt: skip
    page.check("with it the net learns; with zero or small weights it does not",
               errors["He"] < 20 and min(errors["zero"], errors["deviation 0.01"]) > 70,
               ", ".join(f"{name}: {value} %" for name, value in errors.items()))  # fmt: skip


def _start(net: nn.Sequential, fill: Callable[[Any], Any]) -> None:
    """Fill the weights with `fill` and set the biases to 0."""
    for layer in net:
        if isinstance(layer, nn.Linear):
            fill(layer.weight)
            if layer.bias is not None:
                init.zeros_(layer.bias)


def _draw_flow(page: Page, sizes: dict[str, tuple[Array, Array]]) -> None:
    with page.axes("initialisation", "Standard deviation of the signals (left) and of the weight "
                   "gradients (right) by layer, before training", 1, 2) as axes:  # fmt: skip
        for name, pair in sizes.items():
            for axis, values in zip(axes, pair, strict=True):
                axis.plot(np.arange(1, len(values) + 1), np.maximum(values, 1e-20), ".-",
                          label=name)  # fmt: skip
        for axis, of in zip(axes, ("signals", "gradients"), strict=True):
            label = f"std. deviation of the {of}"
            axis.set(yscale="log", ylim=(1e-20, 1e8), xlabel="layer", ylabel=label)
        axes[0].legend()


def flow(page: Page, net: nn.Sequential, split: Split) -> tuple[Array, Array]:
    """Standard deviations of each hidden layer's output, and of the gradients of all weights."""
    value, signals = place(page, split[0]), []
    for layer in net:
        value = layer(value)
        if isinstance(layer, nn.ReLU):
            signals.append(float(np.asarray(value.detach()).std()))
    cross_entropy(value, place(page, split[1])).backward()
    weights = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    gradients = [float(np.asarray(w.grad).std()) for w in weights]
    net.zero_grad()
    return np.array(signals), np.array(gradients)


def inputs(page: Page, part: Split, test: Split) -> None:
    page.text(
        "## Input scaling\n\nThe same digits as bytes, as fractions, and normalised: each pixel's "
        "mean subtracted, then all divided by their standard deviation. If all pixels are "
        "positive, the loss is far more curved along one direction than along the others. That "
        "direction limits the learning rate, and progress along the others is slow. LeCun, Bottou, "
        "Orr and Müller 1998, Efficient BackProp, section 4.3."
    )
    middle, deviation = part[0].mean(0), part[0].std()
    kinds: dict[str, Callable[[Array], Array]] = {
        "0 to 255": lambda images: images * np.float32(255),
        "0 to 1": lambda images: images,
        "centred": lambda images: (images - middle) / deviation,
    }
    rows: list[tuple[Any, ...]] = []
    curves = {}
    for name, scale in kinds.items():
        x = scale(part[0])
        found = [_with_rate(page, (x, part[1]), (scale(test[0]), test[1]), rate) for rate in SCALES]
        curves[name] = min(found, key=lambda curve: float(curve[-1, ERROR]))
        rows.append((name, curvature(x), *(percent(curve[-1, ERROR]) for curve in found)))
    page.table(
        ("pixels", "largest / mean curvature", *(f"test errors, rate {r}" for r in SCALES)),
        rows,
        caption=f"After {INPUT_PASSES} epochs on {len(part[0]):,} digits; one hidden layer of 64",
    )  # fmt: skip
    with page.axes("inputs", "Test error at the best learning rate for each") as axes:
        for name, curve in curves.items():
            axes.plot(curve[:, ERROR], ".-", label=name)
        axes.set(xlabel="epochs", ylabel="test error", ylim=(0, 1))
        axes.legend()
    bytes_, fractions, normal = (float(curve[-1, ERROR]) for curve in curves.values())
    page.check("normalised inputs give the lowest error", normal < min(bytes_, fractions),
               f"{normal:.1%} against {fractions:.1%} and {bytes_:.1%}")  # fmt: skip
    page.check("and less than half the spread of curvature", rows[2][1] < rows[1][1] / 2,
               f"{rows[2][1]:.0f} against {rows[1][1]:.0f}")  # fmt: skip


def _with_rate(page: Page, part: Split, test: Split, rate: float) -> Array:
    net = perceptron((784, 64, 10)).to(page.device)
    optimizer = optim.SGD(net.parameters(), lr=rate)
    return learn(page, net, part, {"test": test}, INPUT_PASSES, optimizer)["test"]


def curvature(images: Array) -> float:
    """Largest over mean curvature of a linear layer's squared error: the eigenvalues of the inputs'
    second moments."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    moments = flat.T @ flat / len(flat)
    return float(np.linalg.eigvalsh(moments)[-1] / np.trace(moments) * len(moments))
