"""Batch normalisation, optionally fused with an addition and an activation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tape import is_grad_enabled
from gpudl.autograd.tensor import Tensor
from gpudl.core.launcher import Launcher
from gpudl.core.layout import channels_last
from gpudl.core.op import Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.devices.find import NativeDevice
from gpudl.ops.norm import batch_cases
from gpudl.ops.norm import batch_numpy as chunked
from gpudl.ops.shape.create import ones, zeros

ACTIVATIONS = ("none", "relu", "relu6", "leaky_relu")
RESIDENT_ROWS = 1792  # values of a channel that one block can hold in registers


class BatchNormOp(Op):
    """y = activation((x - mean)·invstd·weight + bias + residual), invstd = 1/sqrt(var + eps), per
    channel (axis 1).

    Ioffe and Szegedy 2015. training: normalise by the batch's mean and biased variance, and move
    the running statistics towards the batch's mean and unbiased variance by `momentum`, or with
    `cumulative` to the mean over all batches, counted in `batches`. Otherwise normalise by the
    running statistics. bits: mask holds one bit per element in channels-last order, set where the
    activation passed it; backward then reads mask instead of y.
    """

    inputs = ("x", "running_mean?", "running_var?", "weight?", "bias?", "residual?", "batches?")
    outputs = ("y", "mean", "invstd", "mask")
    saves = ("x", "weight", "y", "mean", "invstd", "mask")
    mutates = ("running_mean", "running_var", "batches")
    kernels = ("resident", "parts")
    cpu = ("chunked",)

    training: bool
    momentum: float = 0.1
    eps: float = 1e-5
    activation: str = "none"
    cumulative: bool = False
    bits: bool = False

    slope: ClassVar[float] = 0.01  # of leaky_relu

    def infer(self, x: Spec, *others: Any) -> tuple[Spec, ...]:
        running_mean, running_var, weight, bias, residual, batches = others
        require(
            2 <= len(x.shape) <= 5,
            self,
            "x",
            f"is {x}; it must be (N, C) or (N, C, ...) with one to three more axes",
        )
        vectors = {
            "running_mean": running_mean,
            "running_var": running_var,
            "weight": weight,
            "bias": bias,
        }
        require_float(self, x=x, **vectors, residual=residual)
        channels = x.shape[1]
        for name, spec in vectors.items():
            require(
                spec is None or spec.shape == (channels,),
                self,
                name,
                f"is {spec}; x has {channels} channels, so it must have shape ({channels},)",
            )
        require(
            residual is None or residual.shape == x.shape,
            self,
            "residual",
            f"is {residual}; it must have x's shape {x.shape}",
        )
        self._check_mode(x, running_mean, running_var, batches)
        rows = values_per_channel(x)
        mask = (rows, channels // 8) if self.bits else (0, 0)
        per_channel = Spec((channels,), x.dtype)
        return (x, per_channel, per_channel, Spec(mask, np.dtype(np.uint8)))

    def check_fields(self) -> None:
        require(
            self.activation in ACTIVATIONS,
            self,
            "activation",
            f"is {self.activation!r}; it must be one of {ACTIVATIONS}",
        )

    def _check_mode(self, x: Spec, running_mean: Any, running_var: Any, batches: Any) -> None:
        require(
            (running_mean is None) == (running_var is None),
            self,
            "running_var",
            "and running_mean must both be given or both be absent",
        )
        require(
            self.training or running_mean is not None,
            self,
            "running_mean",
            "is None; inference needs it (or use training=True)",
        )
        require(
            not self.training or values_per_channel(x) > 1,
            self,
            "x",
            f"is {x}; training needs more than one value per channel (a larger batch, or eval())",
        )
        require(
            batches is None or (batches.shape == () and batches.dtype == np.int64),
            self,
            "batches",
            f"is {batches}; it must be one int64, of shape ()",
        )
        require(
            not (self.cumulative and self.training) or batches is not None,
            self,
            "batches",
            "is None; a cumulative mean needs the number of batches",
        )
        require(
            not self.bits or x.shape[1] % 8 == 0,
            self,
            "x",
            f"is {x}; bits need a multiple of 8 channels",
        )
        require(
            x.shape[1] < 2**31 // 8, self, "x", f"is {x}; it must have fewer than 2^28 channels"
        )

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"activation": ACTIVATIONS.index(self.activation)}

    def save(self, inputs: Any, outputs: Any, specs: Any, needs: Any = None) -> Any:
        """Keep y only if it masks the gradient, so that it may otherwise be overwritten."""
        kept = super().save(inputs, outputs, specs, needs)
        masked = self.activation != "none"
        return kept._replace(
            y=kept.y if masked and not self.bits else None,
            mask=kept.mask if masked and self.bits else None,
        )

    # ------------------------------------------------------------ the definition

    def forward(self, xp: Any, *inputs: Any) -> tuple[Any, ...]:
        x, running_mean, running_var, weight, bias, residual, batches = inputs
        axes = all_but_channel(x)
        if self.training:
            mean = x.mean(axes)
            var = xp.square(x - along(mean, x)).mean(axes)
            self.update(running_mean, running_var, batches, mean, var, values_per_channel(x))
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
        y = self.activate(xp, y)
        return (y, mean, invstd, self.mask_of(xp, y))

    def activate(self, xp: Any, y: Any) -> Any:
        """Apply the activation in place."""
        if self.activation == "leaky_relu":
            y *= xp.where(y < 0, y.dtype.type(self.slope), y.dtype.type(1))
        elif self.activation != "none":
            xp.maximum(y, 0, out=y)
            if self.activation == "relu6":
                xp.minimum(y, 6, out=y)
        return y

    def stopped(self, y: Any) -> Any:
        """Where the activation clipped its argument, given its value y."""
        return (y <= 0) | (y >= 6) if self.activation == "relu6" else y <= 0

    def mask_of(self, xp: Any, y: Any) -> Any:
        if not self.bits:
            return xp.empty((0, 0), xp.uint8)
        last = ~self.stopped(y).transpose(channels_last(y.ndim)).reshape(-1, y.shape[1])
        eights = last.reshape(len(last), -1, 8)
        return (eights * (1 << xp.arange(8))).sum(-1).astype(xp.uint8)

    def masked(self, xp: Any, dy: Any, saved: Any) -> Any:
        """The gradient before the activation."""
        if self.activation == "none":
            return dy
        if saved.mask is not None:
            last = [dy.shape[axis] for axis in channels_last(dy.ndim)]
            bits = (saved.mask[:, :, None] >> xp.arange(8, dtype=xp.uint8) & 1).reshape(last)
            through = bits.transpose(0, dy.ndim - 1, *range(1, dy.ndim - 1)) != 0
            return xp.where(through, dy, self.dampened(dy))
        return self.before_activation(xp, dy, saved.y)

    def before_activation(self, xp: Any, dy: Any, y: Any) -> Any:
        return xp.where(self.stopped(y), self.dampened(dy), dy)

    def dampened(self, dy: Any) -> Any:
        """The part of the gradient that passes back where the activation clipped."""
        return dy * dy.dtype.type(self.slope) if self.activation == "leaky_relu" else 0

    def update(
        self, running_mean: Any, running_var: Any, batches: Any, mean: Any, var: Any, n: int
    ) -> None:
        """Update the running statistics in place."""
        if batches is not None:
            batches += 1
        if running_mean is not None:
            share = 1 / float(batches) if self.cumulative else self.momentum
            running_mean *= 1 - share
            running_mean += share * mean
            running_var *= 1 - share
            running_var += share * (n / (n - 1)) * var

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dmean, dinvstd, _ = dys
        x, weight, invstd = saved.x, saved.weight, saved.invstd
        axes, n = all_but_channel(x), values_per_channel(x)
        g = self.masked(xp, dy, saved)
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
        wanted = (dx, None, None, sum_gx, sum_g, g, None)
        return tuple(d if need else None for d, need in zip(wanted, needs, strict=True))

    def forward_chunked(self, xp: Any, *inputs: Any) -> tuple[Any, ...]:
        return chunked.forward(self, *inputs)

    def backward_chunked(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        if dys[1] is not None or dys[2] is not None or saved.x.size == 0 or self.bits:
            return self.backward(xp, dys, saved, needs)
        return chunked.backward(self, dys[0], saved, needs)

    # ------------------------------------------------------------ kernels, costs, tests

    def supports(self, kernel: Launcher, x: Spec, *others: Any) -> bool:
        return kernel.algorithm != "resident" or values_per_channel(x) <= RESIDENT_ROWS

    def cost(self, x: Spec, *others: Any) -> Cost:
        """Training reads x twice if a channel does not fit into registers."""
        reads = 2 if self.training and values_per_channel(x) > RESIDENT_ROWS else 1
        arrays = reads + 1 + (others[4] is not None)
        bits = x.size // 8 if self.bits else 0
        flops = (8 if self.training else 2) * x.size
        return Cost(flops, arrays * x.size * x.dtype.itemsize + bits)

    def reduction(self, x: Spec, *others: Any) -> int:
        return max(1, values_per_channel(x))

    def twin(self, torch: Any, x: Any, *others: Any) -> Any:
        running_mean, running_var, weight, bias, residual, _ = others
        f = torch.nn.functional
        y = f.batch_norm(
            x, running_mean, running_var, weight, bias, self.training, self.momentum, self.eps
        )
        y = y if residual is None else y + residual
        return y if self.activation == "none" else getattr(f, self.activation)(y)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from batch_cases.cases(cls)


def values_per_channel(x: Any) -> int:
    """N times the spatial extents."""
    n: int = x.shape[0]
    for extent in x.shape[2:]:
        n *= extent
    return n


def all_but_channel(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def along(vector: Any, x: Any) -> Any:
    """A vector over channels, shaped to broadcast against x."""
    return vector.reshape((1, -1) + (1,) * (x.ndim - 2))


@public("functional")
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    residual: Tensor | None = None,
    activation: str = "none",
    num_batches_tracked: Tensor | None = None,
) -> Tensor:
    """Normalise each channel: (x - mean)/sqrt(var + eps)·weight + bias, then + residual, then
    activation.

    input: (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W); the vectors (C,); residual like
    input. training: use the batch's mean and biased variance; running_mean and running_var, if
    given, become (1 - momentum)·running + momentum·batch in place, with the unbiased variance.
    Otherwise use the running statistics. num_batches_tracked: an int64 that training increments;
    momentum=None averages the statistics over all these batches. activation: "none", "relu",
    "relu6" or "leaky_relu" (slope 0.01). Ioffe and Szegedy 2015.

    An empty batch is counted but does not change the running statistics. Raises ValueError in
    training if a channel has only one value, in inference without statistics, and for momentum=None
    without num_batches_tracked.
    """
    if training and not input.numel():
        training = False
        if num_batches_tracked is not None:
            num_batches_tracked.add_(1)
        if running_mean is None:
            made: Any = {"dtype": input.dtype, "device": input.device}
            running_mean, running_var = zeros(input.shape[1], **made), ones(input.shape[1], **made)
    taped = is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (input, weight, bias, residual)
    )
    bits = (
        taped
        and activation != "none"
        and isinstance(input.device, NativeDevice)
        and input.shape[1] % 8 == 0
    )
    op = BatchNormOp.of(
        bool(training),
        0.0 if momentum is None else float(momentum),
        float(eps),
        activation,
        momentum is None and bool(training),
        bits,
    )
    counted = num_batches_tracked if training else None
    made = apply(op, input, running_mean, running_var, weight, bias, residual, counted)
    return made[0]  # type: ignore[no-any-return]
