"""Group and instance normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.norm.batch import along, batch_norm, values_per_channel


class GroupNormOp(Op):
    """y = (x - mean)·invstd·weight + bias with mean and biased variance over each group of channels
    of each sample, invstd = 1/sqrt(var + eps). Wu and He 2018."""

    inputs = ("x", "weight?", "bias?")
    outputs = ("y", "mean", "invstd")
    saves = ("x", "weight", "mean", "invstd")
    kernels = ("nhwc",)

    num_groups: int
    eps: float = 1e-5

    def check_fields(self) -> None:
        require(self.num_groups > 0, self, "num_groups", f"is {self.num_groups}; it must be > 0")

    def infer(self, x: Spec, weight: Any, bias: Any) -> tuple[Spec, ...]:
        require_float(self, x=x, weight=weight, bias=bias)
        require(
            2 <= len(x.shape) <= 5,
            self,
            "x",
            f"is {x}; it must be (N, C) or (N, C, ...) with one to three more axes",
        )
        samples, channels = x.shape[:2]
        require(
            channels % self.num_groups == 0,
            self,
            "x",
            f"is {x}; num_groups={self.num_groups} must divide its {channels} channels",
        )
        for name, spec in {"weight": weight, "bias": bias}.items():
            require(
                spec is None or spec.shape == (channels,),
                self,
                name,
                f"is {spec}; x has {channels} channels, so it must have shape ({channels},)",
            )
        values = samples * (channels // self.num_groups) * math.prod(x.shape[2:])
        require(values != 1, self, "x", f"is {x}; a group must have more than one value")
        require(x.size < 2**31, self, "x", f"is {x}; it must have at most 2^31 - 1 elements")
        groups = Spec((samples, self.num_groups), x.dtype)
        return (x, groups, groups)

    def grouped(self, x: Any) -> Any:
        each = math.prod(x.shape[1:]) // self.num_groups
        return x.reshape(x.shape[0], self.num_groups, each)

    def forward(self, xp: Any, x: Any, weight: Any, bias: Any) -> tuple[Any, ...]:
        rows = self.grouped(x)
        n = max(rows.shape[-1], 1)
        mean = rows.sum(-1, keepdims=True) / n
        centred = rows - mean
        invstd = 1 / xp.sqrt(xp.square(centred).sum(-1, keepdims=True) / n + self.eps)
        y = (centred * invstd).reshape(x.shape)
        y = y if weight is None else y * along(weight, x)
        y = y if bias is None else y + along(bias, x)
        return y.astype(x.dtype, copy=False), mean[..., 0], invstd[..., 0].astype(x.dtype)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dmean, dinvstd = dys
        axes = (0, *range(2, dy.ndim))
        invstd = saved.invstd[..., None]
        xhat = (self.grouped(saved.x) - saved.mean[..., None]) * invstd
        g = self.grouped(dy if saved.weight is None else dy * along(saved.weight, dy))
        n = max(g.shape[-1], 1)
        pull = (g * xhat).sum(-1, keepdims=True)
        if dinvstd is not None:
            pull = pull + dinvstd[..., None] * invstd
        dx = invstd * (g - g.sum(-1, keepdims=True) / n - xhat * (pull / n))
        if dmean is not None:
            dx = dx + dmean[..., None] / n
        dweight = (dy * xhat.reshape(dy.shape)).sum(axes)
        return dx.reshape(dy.shape), dweight, dy.sum(axes)

    def cost(self, x: Spec, *others: Any) -> Cost:
        return Cost(8 * x.size, 3 * x.size * x.dtype.itemsize)

    def reduction(self, x: Spec, *others: Any) -> int:
        return max(1, values_per_channel(x), x.size // max(1, x.shape[0] * self.num_groups))

    def twin(self, torch: Any, x: Any, weight: Any, bias: Any) -> Any:
        return torch.nn.functional.group_norm(x, self.num_groups, weight, bias, self.eps)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def drawn(shape: tuple[int, ...], affine: bool = True) -> Any:
            def make(rng: np.random.Generator) -> tuple[Any, ...]:
                x = (rng.standard_normal(shape) * 1.5 + 0.5).astype(np.float32)
                if not affine:
                    return x, None, None
                return x, *((rng.random(shape[1]) + 0.5).astype(np.float32) for _ in range(2))

            return make

        sized = [(3, (2, 6, 4, 5)), (2, (3, 8, 7)), (5, (2, 5, 3, 3)), (1, (2, 3, 2, 3, 2))]
        sized += [(4, (3, 12)), (2, (1, 132, 3, 2)), (1, (2, 4, 33, 35))]
        for groups, shape in sized:
            yield Case(f"{groups} of {shape}", cls.of(groups), drawn(shape))
        yield Case("no affine", cls.of(2), drawn((2, 4, 3), False))
        yield Case("empty batch", cls.of(2), drawn((0, 4, 3)))
        constant = (np.full((2, 4, 3), 7, np.float32), None, None)
        yield Case("constant", cls.of(2), lambda rng: constant)
        x = np.array([[[1.0], [3.0], [0.0], [4.0]]], np.float32)
        y = np.array([[[-1.0], [1.0], [-1.0], [1.0]]], np.float32)
        golden = (y, np.full((1, 2), 2, np.float32), np.array([[1, 0.5]], np.float32))
        yield Case("by hand", cls.of(2, 1e-12), lambda rng: (x, None, None), golden=golden)
        yield Case("groups", cls.of(3), drawn((2, 4, 3)), error="num_groups=3 must divide")
        yield Case("one value", cls.of(4), drawn((1, 4, 1)), error="more than one value")
        yield Case("one value in two samples", cls.of(4, 1.0), drawn((2, 4, 1)))
        yield Case("rank", cls.of(1), drawn((2, 1, 1, 1, 1, 1)), error="x is float32")


@public("functional")
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean)/sqrt(var + eps)·weight + bias, with mean and biased variance over each of
    num_groups groups of channels of each sample.

    input: (N, C) or (N, C, ...) with up to three more axes; weight and bias (C,). Wu and He 2018.
    Raises ValueError if num_groups does not divide the channels, or for a single sample whose
    groups have one value each.
    """
    op = GroupNormOp.of(int(num_groups), float(eps))
    return apply(op, input, weight, bias)[0]  # type: ignore[no-any-return]


@public("functional")
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample by its own mean and biased variance.

    input: (N, C, L), (N, C, H, W) or (N, C, D, H, W). running_mean and running_var, if given, are
    moved in place towards the statistics averaged over samples (with the unbiased variance). With
    use_input_stats=False they are used instead. Ulyanov, Vedaldi and Lempitsky 2016.

    Raises ValueError if a channel of a sample has only one value.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if values_per_channel(input) <= input.shape[0]:
        raise ValueError(
            f"instance_norm: input is {list(input.shape)}; it needs more than one value for each "
            "channel of a sample"
        )
    if running_mean is not None and running_var is not None:
        _follow(input, running_mean, running_var, momentum)
    return group_norm(input, input.shape[1], weight, bias, eps)


def _follow(input: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float) -> None:
    """Update the running statistics by a batch_norm whose channels are (sample, channel)."""
    samples, channels = input.shape[:2]
    one: Any = input.detach().reshape((1, samples * channels, *input.shape[2:]))
    mean, var = (s.detach().repeat(samples).clone() for s in (running_mean, running_var))
    batch_norm(one, mean, var, training=True, momentum=momentum)
    for running, moved in ((running_mean, mean), (running_var, var)):
        running.detach().copy_(moved.reshape((samples, channels)).mean(0))
