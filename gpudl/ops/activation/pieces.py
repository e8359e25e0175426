"""Piecewise linear activations and the like: relu and its variants, thresholds, shrinkage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Spec, require
from gpudl.core.public import public
from gpudl.ops.activation.base import NO_NAN, Activation, normal, run
from gpudl.ops.elementwise.quick_numpy import in_pieces


class ReluOp(Activation):
    """y = max(x, 0); NaN propagates. The gradient at 0 is 0."""

    saves = ("y",)

    def value(self, xp: Any, x: Any) -> Any:
        return xp.maximum(x, 0)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return xp.where(saved.y <= 0, 0, dy)  # the gradient passes at NaN, as in PyTorch

    def forward_pieces(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return self.forward(xp, x)  # pieces do not help a single pass

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases(0, 0, 2, np.nan, np.inf, 0)


class LeakyReluOp(Activation):
    """y = x where x > 0, else negative_slope * x. The gradient at 0 is negative_slope."""

    negative_slope: float = 0.01

    def value(self, xp: Any, x: Any) -> Any:
        return xp.where(x > 0, x, x * self.negative_slope)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return xp.where(saved.x > 0, dy, dy * self.negative_slope)

    def forward_pieces(self, xp: Any, x: Array) -> tuple[Array, ...]:
        if not 0 < self.negative_slope <= 1:
            return super().forward_pieces(xp, x)
        return in_pieces(lambda part: (np.maximum(part, part * self.negative_slope),), (x,))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(-0.01, 0, 2, np.nan, np.inf, -np.inf)
        yield Case("negative slope", cls.of(-0.5), lambda rng: (normal(rng, (7, 9)),))


class ThresholdOp(Activation):
    """y = x where x > threshold, else `otherwise`; NaN propagates."""

    threshold: float = 1.0
    otherwise: float = -3.0

    def value(self, xp: Any, x: Any) -> Any:
        return xp.where(x <= self.threshold, x.dtype.type(self.otherwise), x)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return xp.where(saved.x <= self.threshold, 0, dy)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.threshold(x, self.threshold, self.otherwise)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(-3, -3, 2, np.nan, np.inf, -3)


class HardThresholdOp(Activation):
    """y = high where x >= threshold, else low; NaN propagates.

    The true gradient is 0. The surrogate passes dy within `clip` of the threshold and is 0 outside
    (straight-through estimator: Bengio, Leonard, Courville 2013, section 4; clipped: Hubara et al.
    2016, "Binarized Neural Networks", equation 4).
    """

    true_gradient = False
    threshold: float = 0.0
    low: float = 0.0
    high: float = 1.0
    clip: float = 1.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require(self.clip >= 0, self, "clip", f"is {self.clip}; it must be at least 0")
        return super().infer(x)

    def value(self, xp: Any, x: Any) -> Any:
        high, low = x.dtype.type(self.high), x.dtype.type(self.low)
        return xp.where(x >= self.threshold, high, xp.where(x < self.threshold, low, x))

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return xp.where(xp.abs(saved.x - saved.x.dtype.type(self.threshold)) <= self.clip, dy, 0)

    def twin(self, torch: Any, x: Any) -> Any:
        within = torch.clamp(x, self.threshold - self.clip, self.threshold + self.clip)
        hard = torch.where(x >= self.threshold, self.high, self.low).to(x)
        hard = torch.where(torch.isnan(x), x, hard)
        soft = torch.where(torch.isfinite(within), within, 0)
        return soft + (hard - soft).detach()

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(0, 1, 1, np.nan, 1, 0)
        yield Case("sign", cls.of(0.5, -1.0, 1.0, 2.5), lambda rng: (normal(rng, (7, 9), 3),))
        yield Case(
            "clip", cls.of(0.0, 0.0, 1.0, -1.0), lambda rng: (normal(rng, (2,)),), error="clip"
        )


class HardtanhOp(Activation):
    """y = x clamped to [min_val, max_val]; the gradient at the bounds is 0, as in PyTorch."""

    special = NO_NAN
    min_val: float = -1.0
    max_val: float = 1.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        words = f"is {self.min_val}; it must be at most max_val, {self.max_val}"
        require(self.min_val <= self.max_val, self, "min_val", words)
        return super().infer(x)

    def value(self, xp: Any, x: Any) -> Any:
        return xp.clip(x, self.min_val, self.max_val)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return xp.where((saved.x <= self.min_val) | (saved.x >= self.max_val), 0, dy)

    def forward_pieces(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return self.forward(xp, x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(-1, 0, 1, 1, -1)
        yield Case("0 to 6", cls.of(0.0, 6.0), lambda rng: (normal(rng, (7, 9), 6),))
        yield Case(
            "no room", cls.of(1.5, 1.0), lambda rng: (normal(rng, (2,)),), error="min_val is 1.5"
        )


class HardsigmoidOp(Activation):
    """y = (x + 3)/6, clamped to [0, 1]."""

    special = NO_NAN
    FLOPS = 4

    def value(self, xp: Any, x: Any) -> Any:
        return xp.clip(x + 3, 0, 6) / 6

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return xp.where((saved.x > -3) & (saved.x < 3), dy / 6, 0)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.clamp((x + 3) / 6, 0, 1)  # PyTorch's hardsigmoid computes 1/6 in float32

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(1 / 3, 0.5, 5 / 6, 1, 0)


class HardswishOp(Activation):
    """y = x·hardsigmoid(x) (Howard et al. 2019, "Searching for MobileNetV3", section 5.2)."""

    special = NO_NAN
    FLOPS = 5

    def value(self, xp: Any, x: Any) -> Any:
        return x * (xp.clip(x + 3, 0, 6) / 6)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        x = saved.x
        return xp.where(x <= -3, 0, xp.where(x < 3, dy * (x / 3 + 0.5), dy))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(-1 / 3, 0, 5 / 3, np.inf, np.nan)


class Shrink(Activation):
    """Base of shrinkages: 0 where |x| <= lambd."""

    special = NO_NAN
    lambd: float = 0.5

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require(self.lambd >= 0, self, "lambd", f"is {self.lambd}; it must be at least 0")
        return super().infer(x)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return xp.where((saved.x <= self.lambd) & (saved.x >= -self.lambd), 0, dy)


class HardshrinkOp(Shrink):
    """y = x where |x| > lambd, else 0; NaN propagates."""

    def value(self, xp: Any, x: Any) -> Any:
        return xp.where(xp.abs(x) <= self.lambd, 0, x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(-1, 0, 2, np.inf, -np.inf)


class SoftshrinkOp(Shrink):
    """y = x moved towards 0 by lambd, 0 where |x| <= lambd; NaN propagates."""

    def value(self, xp: Any, x: Any) -> Any:
        return xp.where(
            x > self.lambd, x - self.lambd, xp.where(x < -self.lambd, x + self.lambd, x * 0)
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(-0.5, 0, 1.5, np.inf, -np.inf)
        yield Case("lambd", cls.of(-1.0), lambda rng: (normal(rng, (2,)),), error="lambd is -1")


class SoftsignOp(Activation):
    """y = x / (1 + |x|); NaN at infinity, as in PyTorch."""

    special = (-1, 0, 2)
    FLOPS = 3

    def value(self, xp: Any, x: Any) -> Any:
        return x / (1 + xp.abs(x))

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy / xp.square(1 + xp.abs(saved.x))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(-0.5, 0, 2 / 3)


@public("gpudl", "Tensor", "functional")
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise; NaN propagates. The gradient at 0 is 0."""
    return run(ReluOp.of(), input, inplace)


@public("functional")
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where positive, else negative_slope * input, elementwise."""
    return run(LeakyReluOp.of(float(negative_slope)), input, inplace)


@public("functional")
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where above `threshold`, else `value`, elementwise."""
    return run(ThresholdOp.of(float(threshold), float(value)), input, inplace)


@public("functional")
def hard_threshold(
    input: Tensor, threshold: float = 0.0, low: float = 0.0, high: float = 1.0, clip: float = 1.0
) -> Tensor:
    """high where input >= threshold, else low: neurons that fire or do not.

    The gradient passes straight through where |input - threshold| <= clip and is 0 elsewhere
    (Bengio, Leonard, Courville 2013; Hubara et al. 2016); clip=math.inf passes it everywhere. For a
    threshold without a gradient use (input >= threshold).float().
    """
    op = HardThresholdOp.of(float(threshold), float(low), float(high), float(clip))
    return run(op, input)


@public("functional")
def hard_sign(input: Tensor, clip: float = 1.0) -> Tensor:
    """1 where input >= 0, else -1, with hard_threshold's gradient; that of gpudl.sign is 0."""
    return hard_threshold(input, 0.0, -1.0, 1.0, clip)


@public("functional")
def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """input clamped to [min_val, max_val]. The gradient at the bounds is 0."""
    return run(HardtanhOp.of(float(min_val), float(max_val)), input, inplace)


@public("functional")
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """input clamped to [0, 6]."""
    return hardtanh(input, 0.0, 6.0, inplace)


@public("functional")
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """(input + 3)/6, clamped to [0, 1]."""
    return run(HardsigmoidOp.of(), input, inplace)


@public("functional")
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input · hardsigmoid(input)."""
    return run(HardswishOp.of(), input, inplace)


@public("functional")
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input where |input| > lambd, else 0."""
    return run(HardshrinkOp.of(float(lambd)), input)


@public("functional")
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input moved towards 0 by lambd, but not past 0."""
    return run(SoftshrinkOp.of(float(lambd)), input)


@public("functional")
def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return run(SoftsignOp.of(), input)
