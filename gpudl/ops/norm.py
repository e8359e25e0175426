"""Batch normalisation, fused with an addition and an activation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.device import NHWC, is_dense
from gpudl.op import Case, Cost, Op, Spec, public, require, require_float
from gpudl.tensor import Tensor, apply

ACTIVATIONS = ("none", "relu")
ALL_BUT_CHANNEL = {2: (0,), 4: (0, 2, 3)}
PARTS = 128  # blocks that share the sums of a channel, at most
ROWS_PER_PART = 128
CHUNK = 1 << 16  # elements that the NumPy form works on at a time: they stay in the cache


class BatchNormOp(Op):
    """y = activation((x - mean)·invstd·weight + bias + residual), invstd = 1/sqrt(var + eps), per
    channel.

    Ioffe and Szegedy 2015. training: mean and (biased) variance are the batch's, and the running
    ones move towards them by `momentum`, the variance unbiased; else the running ones are used.
    """

    inputs = ("x", "running_mean?", "running_var?", "weight?", "bias?", "residual?")
    outputs = ("y", "mean", "invstd")
    saves = ("x", "weight", "y", "mean", "invstd")
    mutates = ("running_mean", "running_var")
    kernels = ("nhwc", "matrix")
    cpu = ("chunked",)

    training: bool
    momentum: float = 0.1
    eps: float = 1e-5
    activation: str = "none"

    def infer(
        self, x: Spec, running_mean: Any, running_var: Any, weight: Any, bias: Any, residual: Any
    ) -> tuple[Spec, ...]:
        require(
            len(x.shape) in ALL_BUT_CHANNEL,
            self,
            "x",
            f"is {x}; it must be (N, C) or (N, C, H, W)",
        )
        vectors = {
            "running_mean": running_mean,
            "running_var": running_var,
            "weight": weight,
            "bias": bias,
        }
        require_float(self, x=x, **vectors, residual=residual)
        for name, spec in vectors.items():
            require(
                spec is None or spec.shape == x.shape[1:2],
                self,
                name,
                f"is {spec}; x has {x.shape[1]} channels, so it must have shape ({x.shape[1]},)",
            )
        require(
            residual is None or residual.shape == x.shape,
            self,
            "residual",
            f"is {residual}; it must have x's shape {x.shape}",
        )
        require(
            self.activation in ACTIVATIONS,
            self,
            "activation",
            f"is {self.activation!r}; it must be one of {ACTIVATIONS}",
        )
        self._check_mode(x, running_mean, running_var)
        channels = Spec(x.shape[1:2], x.dtype)
        return (x, channels, channels)

    def _check_mode(self, x: Spec, running_mean: Any, running_var: Any) -> None:
        require(
            (running_mean is None) == (running_var is None),
            self,
            "running_var",
            "and running_mean must both be given or both be absent",
        )
        if not self.training:
            require(
                running_mean is not None,
                self,
                "running_mean",
                "is None; inference needs it (or pass training=True)",
            )
        require(
            not self.training or values_per_channel(x) > 1,
            self,
            "x",
            f"is {x}; training needs more than one value per channel (a larger batch, or eval())",
        )

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"activation": ACTIVATIONS.index(self.activation)}

    def save(self, inputs: Any, outputs: Any, specs: Any, needs: Any = None) -> Any:
        """y is kept only where an activation masks the gradient, so that it may else be
        overwritten."""
        kept = super().save(inputs, outputs, specs, needs)
        return kept if self.activation != "none" else kept._replace(y=None)

    # ------------------------------------------------------------ the definition

    def forward(
        self,
        xp: Any,
        x: Any,
        running_mean: Any,
        running_var: Any,
        weight: Any,
        bias: Any,
        residual: Any,
    ) -> tuple[Any, ...]:
        axes = ALL_BUT_CHANNEL[x.ndim]
        if self.training:
            mean = x.mean(axes)
            var = xp.square(x - along(mean, x)).mean(axes)
            self._update(running_mean, running_var, mean, var, values_per_channel(x))
        else:
            mean, var = running_mean.copy(), running_var
        invstd = 1 / xp.sqrt(var + self.eps)
        y = (x - along(mean, x)) * along(invstd, x)
        if weight is not None:
            y = y * along(weight, x)
        if bias is not None:
            y = y + along(bias, x)
        if residual is not None:
            y = y + residual
        return (xp.maximum(y, 0) if self.activation == "relu" else y, mean, invstd)

    def _update(self, running_mean: Any, running_var: Any, mean: Any, var: Any, n: int) -> None:
        if running_mean is not None:
            running_mean *= 1 - self.momentum
            running_mean += self.momentum * mean
            running_var *= 1 - self.momentum
            running_var += self.momentum * (n / (n - 1)) * var

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dmean, dinvstd = dys
        x, weight, invstd = saved.x, saved.weight, saved.invstd
        axes, n = ALL_BUT_CHANNEL[x.ndim], values_per_channel(x)
        g = dy if saved.y is None else xp.where(saved.y <= 0, 0, dy)
        xhat = (x - along(saved.mean, x)) * along(invstd, x)
        sum_g, sum_gx = g.sum(axes), (g * xhat).sum(axes)
        dx = g
        if self.training:
            dx = g - (along(sum_g, x) + xhat * along(sum_gx, x)) / n
        dx = dx * along(invstd if weight is None else invstd * weight, x)
        if self.training and dmean is not None:
            dx = dx + along(dmean, x) / n
        if self.training and dinvstd is not None:
            dx = dx - xhat * along(dinvstd * invstd * invstd, x) / n
        wanted = (dx, None, None, sum_gx, sum_g, g)
        return tuple(d if need else None for d, need in zip(wanted, needs, strict=True))

    # ------------------------------------------------------------ the quick NumPy form

    def forward_chunked(
        self,
        xp: Any,
        x: Any,
        running_mean: Any,
        running_var: Any,
        weight: Any,
        bias: Any,
        residual: Any,
    ) -> tuple[Any, ...]:
        """Two passes over x for the statistics, one more for y, each in chunks that the cache
        holds."""
        rows = by_channel(x)
        if self.training:
            n = values_per_channel(x)
            mean = sum(sums(part) for part in chunks(rows)) / x.dtype.type(n)
            var = sum(products(c, c) for c in (p - beside(mean, p) for p in chunks(rows)))
            var = var / x.dtype.type(n)
            self._update(running_mean, running_var, mean, var, n)
        else:
            mean, var = running_mean.copy(), running_var
        invstd = 1 / np.sqrt(var + self.eps)
        scale = beside(invstd if weight is None else invstd * weight, rows)
        out = np.empty_like(rows)
        added = None if residual is None else by_channel(residual, like=x)
        center = beside(mean, rows)
        for at, part in numbered_chunks(rows):
            y = np.subtract(part, center, out=out[at])
            y *= scale
            if bias is not None:
                y += beside(bias, y)
            if added is not None:
                y += added[at]
            if self.activation == "relu":
                np.maximum(y, 0, out=y)
        return (back_to(out, x), mean, invstd)

    def backward_chunked(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x, n = saved.x, values_per_channel(saved.x)
        if dys[1] is not None or dys[2] is not None or x.size == 0:
            return self.backward(xp, dys, saved, needs)
        rows, g = by_channel(x), by_channel(dys[0], like=x)
        if saved.y is not None:
            g = g * (by_channel(saved.y, like=x) > 0)
        mean, invstd = beside(saved.mean, rows), saved.invstd
        sum_g, sum_gx = 0, 0
        if self.training or needs[3] or needs[4]:
            for at, part in numbered_chunks(rows):
                sum_g = sum_g + sums(g[at])
                sum_gx = sum_gx + products(g[at], part - mean)
            sum_gx = sum_gx * invstd
        dx = None
        if needs[0]:
            scale = invstd if saved.weight is None else invstd * saved.weight
            dx = np.multiply(g, beside(scale, rows))
            if self.training:
                slope = beside(scale * invstd * sum_gx / n, rows)
                constant = beside(scale * sum_g / n, rows)
                for at, part in numbered_chunks(rows):
                    step = part - mean
                    step *= slope
                    step += constant
                    dx[at] -= step
            dx = back_to(dx, x)
        wanted = (dx, None, None, sum_gx, sum_g, back_to(g, x))
        return tuple(d if need else None for d, need in zip(wanted, needs, strict=True))

    # ------------------------------------------------------------ kernels, costs, tests

    def supports(self, algorithm: str, x: Spec, *others: Any) -> bool:
        return len(x.shape) == (4 if algorithm == "nhwc" else 2)

    def workspace(self, direction: str, algorithm: str, x: Spec, *others: Any) -> int:
        parts = min(PARTS, -(-max(values_per_channel(x), 1) // ROWS_PER_PART))
        return 2 * x.shape[1] * (parts + (direction == "backward"))

    def cost(self, x: Spec, *others: Any) -> Cost:
        arrays = 2 + (others[-1] is not None)
        return Cost((8 if self.training else 2) * x.size, arrays * x.size * x.dtype.itemsize)

    def reduction(self, x: Spec, *others: Any) -> int:
        return max(1, values_per_channel(x))

    def twin(
        self,
        torch: Any,
        x: Any,
        running_mean: Any,
        running_var: Any,
        weight: Any,
        bias: Any,
        residual: Any,
    ) -> Any:
        f = torch.nn.functional
        y = f.batch_norm(
            x, running_mean, running_var, weight, bias, self.training, self.momentum, self.eps
        )
        y = y if residual is None else y + residual
        return f.relu(y) if self.activation == "relu" else y

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for shape in [(5, 3), (2, 3, 4, 5), (300, 7), (3, 70, 2, 1), (1, 1, 1, 2), (9, 33, 6, 7)]:
            name = "x".join(map(str, shape))
            yield Case(f"training {name}", cls.of(True), drawn(shape))
            yield Case(f"inference {name}", cls.of(False), drawn(shape))
            fused = cls.of(True, 0.3, 1e-3, "relu")
            yield Case(f"fused {name}", fused, drawn(shape, residual=True))
        yield Case(
            "fused inference", cls.of(False, 0.1, 1e-5, "relu"), drawn((4, 5), residual=True)
        )
        yield Case("one value in inference", cls.of(False), drawn((1, 3)))
        yield Case("empty batch in inference", cls.of(False), drawn((0, 3, 2, 2)))
        yield Case("statistics alone", cls.of(True), drawn((6, 4), present=()))
        yield Case("no affine", cls.of(True), drawn((6, 4), present=(1, 2)))
        yield Case("large mean", cls.of(True), drawn((40, 3, 5, 5), offset=30))
        yield from golden_cases(cls)
        yield Case("one value", cls.of(True), drawn((1, 3, 1, 1)), error="more than one value")
        yield Case("rank", cls.of(True), drawn((2, 3, 4)), error=r"x is float32\[2, 3, 4\]")
        lone = drawn((6, 4), present=(3, 4))
        yield Case("no statistics", cls.of(False), lone, error="running_mean is None")
        yield Case("activation", cls.of(True, 0.1, 1e-5, "cube"), drawn((6, 4)), error="'cube'")


def golden_cases(cls: type[BatchNormOp]) -> Iterator[Case]:
    """Worked out by hand: columns 1, 3 and 0, 4 with means 2, 2 and variances 1, 4."""
    x = np.array([[1, 0], [3, 4]], np.float32)
    zero, one, two, four = (np.full(2, v, np.float32) for v in (0, 1, 2, 4))
    y = np.array([[-1, -1], [3, 3]], np.float32)  # 2·(±1) + 1

    def train(rng: Any) -> tuple[Any, ...]:
        return x, zero.copy(), zero.copy(), two, one, None

    yield Case(
        "by hand",
        cls.of(True, 0.1, 1e-12),
        train,
        golden=(y, two, 1 / np.array([1, 2], np.float32)),
    )
    y = np.array([[0, 0], [0.75, 1.25]], np.float32)  # (x - 1.5)/2, negative ones cut off

    def infer(rng: Any) -> tuple[Any, ...]:
        return x, one + 0.5, four, None, None, None

    op = cls.of(False, 0.1, 1e-12, "relu")
    yield Case("inference by hand", op, infer, golden=(y, one + 0.5, one / 2))


def drawn(
    shape: tuple[int, ...],
    residual: bool = False,
    present: tuple[int, ...] = (1, 2, 3, 4),
    offset: float = 0.5,
) -> Any:
    """Inputs of a case: x, running_mean, running_var, weight, bias, residual (numbers 1-4 if
    present)."""

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        c = shape[1]
        x = rng.standard_normal(shape) * 1.5 + offset
        vectors = [rng.standard_normal(c), rng.random(c) + 0.5, rng.random(c) + 0.5, rng.random(c)]
        given = [v if i in present else None for i, v in enumerate(vectors, 1)]
        arrays = [x, *given, rng.standard_normal(shape) if residual else None]
        return tuple(None if a is None else a.astype(np.float32) for a in arrays)

    return make


def values_per_channel(x: Any) -> int:
    """N, or N·H·W."""
    n: int = x.shape[0]
    for extent in x.shape[2:]:
        n *= extent
    return n


def along(vector: Any, x: Any) -> Any:
    """A value per channel, shaped to stand beside x."""
    return vector.reshape((1, -1) + (1,) * (x.ndim - 2))


def by_channel(x: Any, like: Any = None) -> Any:
    """x as (N, C, H·W), or as (N·H·W, C) where it (or `like`) lies channels-last; a view if it can
    be."""
    leader = x if like is None else like
    if x.ndim == 2:
        return x
    n, c, h, w = x.shape
    if is_dense(leader, NHWC) and not is_dense(leader, (0, 1, 2, 3)):
        return x.transpose(NHWC).reshape(n * h * w, c)
    return x.reshape(n, c, h * w)


def back_to(rows: Any, x: Any) -> Any:
    """What by_channel made of x, in x's shape again."""
    if x.ndim == 4 and rows.ndim == 2:
        n, c, h, w = x.shape
        return rows.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return rows.reshape(x.shape)


def beside(vector: Any, rows: Any) -> Any:
    return vector if rows.ndim == 2 else vector[:, None]


def sums(rows: Any) -> Any:
    return rows.sum(0) if rows.ndim == 2 else rows.sum(2).sum(0)


def products(a: Any, b: Any) -> Any:
    """Sums per channel of a·b, without an array of the products."""
    return np.einsum("nc,nc->c" if a.ndim == 2 else "ncl,ncl->c", a, b)


def numbered_chunks(rows: Any) -> Iterator[tuple[slice, Any]]:
    count = len(rows)
    step = max(1, CHUNK * count // max(rows.size, 1))
    for start in range(0, count, step):
        at = slice(start, start + step)
        yield at, rows[at]


def chunks(rows: Any) -> Iterator[Any]:
    return (part for _, part in numbered_chunks(rows))


@public("functional")
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    residual: Tensor | None = None,
    activation: str = "none",
) -> Tensor:
    """Normalise each channel: (x - mean)/sqrt(var + eps)·weight + bias, then + residual, then
    activation.

    input: (N, C), (N, C, L) or (N, C, H, W); the vectors (C,); residual like input. training: with
    the batch's own mean and biased variance; running_mean and running_var, if given, are changed in
    place to (1 - momentum)·running + momentum·batch, with the unbiased variance. Else with the
    running ones. activation: "none" or "relu". Ioffe and Szegedy 2015.

    Raises ValueError in training if a channel has only one value, in inference without statistics.
    """
    op = BatchNormOp.of(bool(training), float(momentum), float(eps), activation)
    x, added = input, residual
    if input.ndim == 3:
        x = input.reshape((*input.shape, 1))
        added = None if residual is None else residual.reshape(x.shape)
    y: Tensor = apply(op, x, running_mean, running_var, weight, bias, added)[0]
    return y.reshape(input.shape) if input.ndim == 3 else y
