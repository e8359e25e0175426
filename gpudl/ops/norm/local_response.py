"""Local response normalisation, and normalisation of vectors to unit length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.reduce.moments import norm


class LocalResponseNormOp(Op):
    """y = x·scale^-beta, scale = k + alpha/size · Σ x² over the channels from c - size//2 to
    c + (size-1)//2 that exist. Krizhevsky, Sutskever and Hinton 2012."""

    outputs = ("y", "scale")
    saves = ("x", "scale")
    kernels = ("nhwc",)

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def check_fields(self) -> None:
        require(self.size > 0, self, "size", f"is {self.size}; it must be > 0")

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        require(
            3 <= len(x.shape) <= 5,
            self,
            "x",
            f"is {x}; it must be (N, C, ...) with one to three more axes",
        )
        require(x.size < 2**31, self, "x", f"is {x}; it must have at most 2^31 - 1 elements")
        return (x, x)

    def window_sum(self, xp: Any, v: Any, below: int, above: int) -> Any:
        """Σ v over the channels from c - below to c + above."""
        channels = v.shape[1]
        below, above = min(below, channels), min(above, channels)
        padded = xp.zeros((v.shape[0], below + channels + above, *v.shape[2:]), v.dtype)
        padded[:, below : below + channels] = v
        total = padded[:, :channels].copy()
        for start in range(1, below + above + 1):
            total += padded[:, start : start + channels]
        return total

    @property
    def window(self) -> tuple[int, int]:
        return self.size // 2, (self.size - 1) // 2

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        scale = self.window_sum(xp, x * x, *self.window)
        scale *= self.alpha / self.size
        scale += self.k
        return x * scale ** x.dtype.type(-self.beta), scale

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dscale = dys
        x, scale = saved.x, saved.scale
        damped = scale ** x.dtype.type(-self.beta)
        pull = dy * x * damped / scale
        pull *= -self.beta
        if dscale is not None:
            pull += dscale
        below, above = self.window
        pulled = self.window_sum(xp, pull, above, below)
        pulled *= x
        pulled *= 2 * self.alpha / self.size
        return (dy * damped + pulled,)

    def cost(self, x: Spec) -> Cost:
        return Cost((2 * self.size + 6) * x.size, 3 * x.size * x.dtype.itemsize)

    def reduction(self, x: Spec) -> int:
        return self.size

    def twin(self, torch: Any, x: Any) -> Any:
        f = torch.nn.functional
        return f.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def drawn(*shape: int) -> Any:
            return lambda rng: (rng.standard_normal(shape).astype(np.float32) * 2,)

        yield Case("AlexNet", cls.of(5, 1e-1, 0.75, 2.0), drawn(2, 16, 3, 4))
        yield Case("even window", cls.of(4, 0.5, 0.75, 1.0), drawn(2, 7, 5))
        yield Case("window of all", cls.of(11, 0.5, 0.6, 1.5), drawn(1, 5, 2, 2, 2))
        yield Case("one channel", cls.of(3, 0.5), drawn(3, 1, 4))
        yield Case("own channel", cls.of(1, 0.5, 1.0), drawn(2, 33, 3, 3))
        yield Case("empty batch", cls.of(3), drawn(0, 4, 2, 2))
        x = np.array([[[1.0], [2.0], [2.0]]], np.float32)  # Σ x²: 5, 9, 8
        scale = np.array([[[5.0], [9.0], [8.0]]], np.float32)
        op = cls.of(3, 3.0, 1.0, 0.0)
        yield Case("by hand", op, lambda rng: (x,), golden=(x / scale, scale))
        yield Case("rank", cls.of(3), drawn(2, 3), error=r"x is float32\[2, 3\]")


@public("functional")
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """input / (k + alpha/size · Σ input²)^beta, with the sum over `size` neighbouring channels.

    input: (N, C, L), (N, C, H, W) or (N, C, D, H, W); channels beyond the first and last count as
    zeros. Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural
    Networks (2012), section 3.3; their alpha is alpha/size here, as in PyTorch.
    """
    op = LocalResponseNormOp.of(int(size), float(alpha), float(beta), float(k))
    return apply(op, input)[0]  # type: ignore[no-any-return]


@public("functional")
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """input / max(‖input‖, eps), with the p-norm along axis dim."""
    length: Any = norm(input, p, dim, keepdim=True)
    return input / length.clamp(min=eps)  # type: ignore[no-any-return]
