"""Random fills, Bernoulli draws and dropout, with the same bits on every device (see
gpudl.core.random)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes, random
from gpudl.core.launcher import Launcher
from gpudl.core.op import Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.core.random import Generator
from gpudl.devices.find import chosen
from gpudl.ops.shape.create import like, shape_of

INT64 = np.dtype(np.int64)
FLOAT32 = np.dtype(np.float32)
COUNTER = np.array([2024, 3, 17], np.int64)
RANKS = {"rank1": 1, "rank2": 2, "rank3": 3, "nhwc": 4}


def check_counter(op: Op, counter: Spec) -> None:
    require(
        counter.shape == (3,) and counter.dtype == INT64,
        op,
        "counter",
        f"is {counter}; it must be int64[3], (seed, stream, offset) as from Generator.take",
    )


class Fill(Op):
    """A new array of `shape`, drawn from `counter` (seed, stream, offset)."""

    inputs = ("counter",)
    kernels = ("block",)
    backward = None  # type: ignore[assignment]

    shape: tuple[int, ...]

    def infer(self, counter: Spec) -> tuple[Spec, ...]:
        check_counter(self, counter)
        return (Spec(self.shape, FLOAT32),)

    def draw(self, counter: Any) -> Any:
        """The numbers before scaling, flattened."""
        raise TypeError

    def cost(self, counter: Spec) -> Cost:
        (y,) = self.infer(counter)
        return Cost(2 * y.size, y.size * y.dtype.itemsize)


class UniformFillOp(Fill):
    """y = low + (high - low)·u, u uniform in [0, 1)."""

    low: float = 0.0
    high: float = 1.0

    def forward(self, xp: Any, counter: Any) -> tuple[Any, ...]:
        u = random.uniform(counter, Spec(self.shape, FLOAT32).size).reshape(self.shape)
        low, high = np.float32(self.low), np.float32(self.high)
        return ((high - low) * u + low,)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for shape in [(1,), (5, 7), (0, 3), (2, 3, 4, 5), (1030,)]:
            op = cls.of(shape, -2.0, 3.0)
            yield Case("x".join(map(str, shape)), op, lambda rng: (COUNTER,))
        # The upper 24 bits of Random123's known answers (kat_vectors) for key and counter 0.
        words = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], np.uint32)
        y = ((words >> 8) / 2.0**24).astype(np.float32)
        yield Case("known", cls.of((4,)), lambda rng: (np.zeros(3, np.int64),), golden=(y,))
        bad = np.zeros(4, np.int64)
        yield Case(
            "counter", cls.of((4,)), lambda rng: (bad,), error="uniform_fill: counter is int64"
        )


class NormalFillOp(Fill):
    """y = mean + std·z, z standard normal."""

    mean: float = 0.0
    std: float = 1.0

    def forward(self, xp: Any, counter: Any) -> tuple[Any, ...]:
        z = random.normal(counter, Spec(self.shape, FLOAT32).size).reshape(self.shape)
        return (np.float32(self.std) * z + np.float32(self.mean),)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for shape in [(1,), (5, 7), (0, 3), (2, 3, 4, 5), (1030,)]:
            op = cls.of(shape, 0.5, 2.0)
            yield Case("x".join(map(str, shape)), op, lambda rng: (COUNTER,))
        # sqrt(-2 ln u)·(cos, sin)(2πv) of Random123's known answers, computed with the math module.
        y = np.array([0.99113768, -0.92466259, -0.61760896, -0.48206859], np.float32)
        yield Case("known", cls.of((4,)), lambda rng: (np.zeros(3, np.int64),), golden=(y,))


class IntegerFillOp(Fill):
    """y = low + floor(word·span / 2^32): integers from low to low + span - 1, span at most 2^32."""

    low: int
    span: int

    def infer(self, counter: Spec) -> tuple[Spec, ...]:
        check_counter(self, counter)
        require(
            1 <= self.span <= 1 << 32,
            self,
            "span",
            f"is {self.span}; high - low must be from 1 to 2^32",
        )
        return (Spec(self.shape, INT64),)

    def forward(self, xp: Any, counter: Any) -> tuple[Any, ...]:
        words = random.bits(counter, Spec(self.shape, INT64).size).reshape(self.shape)
        scaled = words.astype(np.uint64) * np.uint64(self.span) >> np.uint64(32)
        return (scaled.astype(np.int64) + self.low,)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("dice", cls.of((3, 5), 1, 6), lambda rng: (COUNTER,))
        yield Case("negative", cls.of((258,), -7, 3), lambda rng: (COUNTER,))
        yield Case("all words", cls.of((9,), 0, 1 << 32), lambda rng: (COUNTER,))
        yield Case("none", cls.of((0,), 0, 2), lambda rng: (COUNTER,))
        yield Case(
            "span", cls.of((1,), 0, 0), lambda rng: (COUNTER,), error="integer_fill: span is 0"
        )


def uniform_like(counter: Any, x: Any) -> Any:
    """Uniform numbers in x's shape; element i of x, in logical row-major order, gets number i."""
    return random.uniform(counter, x.size).reshape(x.shape)


class BernoulliOp(Op):
    """y = 1 with probability p, else 0, elementwise."""

    inputs = ("p", "counter")
    kernels = tuple(RANKS)
    backward = None  # type: ignore[assignment]

    def infer(self, p: Spec, counter: Spec) -> tuple[Spec, ...]:
        require_float(self, p=p)
        check_counter(self, counter)
        return (p,)

    def supports(self, kernel: Launcher, p: Spec, counter: Spec) -> bool:
        return len(p.shape) == RANKS[kernel.algorithm]

    def forward(self, xp: Any, p: Any, counter: Any) -> tuple[Any, ...]:
        return ((uniform_like(counter, p) < p.astype(np.float32)).astype(p.dtype),)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for shape in [(300,), (5, 7), (2, 3, 5), (2, 3, 4, 5), (0, 3)]:
            make = lambda rng, s=shape: (rng.random(s).astype(np.float32), COUNTER)  # noqa: E731
            yield Case("x".join(map(str, shape)), cls(), make)
        certain = np.array([0, 1, 0, 1, np.nan], np.float32)
        want = np.array([0, 1, 0, 1, 0], np.float32)
        yield Case("certain", cls(), lambda rng: (certain, COUNTER), golden=(want,))
        bad = np.arange(3)
        yield Case("integers", cls(), lambda rng: (bad, COUNTER), error="bernoulli: p is int64")


class DropoutOp(Op):
    """y = x / (1 - p) where u >= p, else 0, with uniform u from `counter`. Backward draws the mask
    again.

    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, scaled in training ("inverted").
    """

    inputs = ("x", "counter")
    saves = ("counter",)
    kernels = tuple(RANKS)

    p: float

    def infer(self, x: Spec, counter: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        check_counter(self, counter)
        require(0 <= self.p <= 1, self, "p", f"is {self.p}; it must be from 0 to 1")
        return (x,)

    def supports(self, kernel: Launcher, x: Spec, counter: Spec) -> bool:
        return len(x.shape) == RANKS[kernel.algorithm]

    def forward(self, xp: Any, x: Any, counter: Any) -> tuple[Any, ...]:
        keep = uniform_like(counter, x) >= np.float32(self.p)
        one = x.dtype.type(1)
        return (xp.where(keep, x * (one / (one - x.dtype.type(self.p))), x.dtype.type(0)),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        return (*self.forward(xp, dys[0], saved.counter), None)

    def cost(self, x: Spec, counter: Spec) -> Cost:
        return Cost(x.size, 2 * x.size * x.dtype.itemsize)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for shape in [
            (300,),
            (5, 7),
            (2, 3, 5),
            (2, 3, 4, 5),
            (2, 8, 2, 6),
            (1, 3, 3, 3),
            (0, 3),
            (1, 1, 1, 1),
        ]:
            make = lambda rng, s=shape: (rng.standard_normal(s).astype(np.float32), COUNTER)  # noqa: E731
            yield Case("x".join(map(str, shape)), cls.of(0.3), make)
        ones, zeros = np.ones((2, 6), np.float32), np.zeros((2, 6), np.float32)
        yield Case("nothing dropped", cls.of(0.0), lambda rng: (ones, COUNTER), golden=(ones,))
        yield Case("all dropped", cls.of(1.0), lambda rng: (ones, COUNTER), golden=(zeros,))
        # The uniforms of Random123's known answers are 0.399, 0.881, 0.736, 0.605.
        start, x = np.zeros(3, np.int64), np.array([1, 2, 3, 4], np.float32)
        y = np.array([0, 8, 0, 0], np.float32)
        yield Case("known", cls.of(0.75), lambda rng: (x, start), golden=(y,))
        yield Case("p", cls.of(1.5), lambda rng: (ones, COUNTER), error=r"dropout: p is 1\.5")


# -------------------------------------------------------------------- functions


def counter_on(where: Any, count: int, generator: Generator | None) -> Tensor:
    """The counter for drawing `count` words on a device."""
    counter = (generator or random.default_generator(where)).take(count)
    return Tensor.from_array(where.asarray(counter), where)


def fill(op: Fill, dtype: Any, device: Any, requires_grad: bool, generator: Any) -> Tensor:
    """Run a fill on a device; numbers are drawn in the fill's dtype, then converted."""
    where = chosen(device)
    size = Spec(op.shape, FLOAT32).size
    made: Tensor = apply(op, counter_on(where, size, generator))
    wanted = made.dtype if dtype is None else dtypes.dtype_of(dtype)
    if made.dtype != wanted and where.name != "meta":
        made = Tensor.from_array(made.array.astype(wanted), where)
    made.requires_grad = requires_grad
    return made


@public("gpudl")
def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1), multiples of 2^-24, of shape `size`."""
    return fill(UniformFillOp.of(shape_of(size)), dtype, device, requires_grad, generator)


@public("gpudl")
def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal numbers of shape `size`."""
    return fill(NormalFillOp.of(shape_of(size)), dtype, device, requires_grad, generator)


@public("gpudl")
def normal(
    mean: float,
    std: float,
    size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of shape `size` with the given mean and standard deviation."""
    if std < 0:
        raise ValueError(f"normal: std is {std}; it must not be negative")
    op = NormalFillOp.of(shape_of((size,)), float(mean), float(std))
    return fill(op, dtype, device, requires_grad, generator)


@public("gpudl")
def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Integers from low to high - 1, int64: randint(10, (3,)) or randint(2, 10, (3,)).

    high - low must be at most 2^32; the relative error of each probability is at most
    (high - low)/2^32.
    """
    if size is None:
        low, high, size = 0, low, high
    if not low < high:
        raise ValueError(f"randint: low is {low}; it must be below high, {high}")
    op = IntegerFillOp.of(shape_of((size,)), int(low), int(high) - int(low))
    return fill(op, dtype, device, False, generator)


@public("gpudl")
def rand_like(
    input: Tensor,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Any = None,
) -> Tensor:
    """Uniform numbers in [0, 1) with the shape and, by default, the dtype and device of `input`."""
    op = UniformFillOp.of(tuple(input.shape))
    return fill(op, requires_grad=requires_grad, generator=generator, **like(input, dtype, device))


@public("gpudl")
def randn_like(
    input: Tensor,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Any = None,
) -> Tensor:
    """Standard normal numbers with the shape and, by default, the dtype and device of `input`."""
    op = NormalFillOp.of(tuple(input.shape))
    return fill(op, requires_grad=requires_grad, generator=generator, **like(input, dtype, device))


@public("gpudl")
def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    dtype: Any = None,
    device: Any = None,
    generator: Any = None,
) -> Tensor:
    """Integers from low to high - 1 (0 to low - 1 without high), with the shape and, by default,
    the dtype and device of `input`."""
    first, last = (0, low) if high is None else (low, high)
    return randint(first, last, input.shape, generator=generator, **like(input, dtype, device))


@public("gpudl")
def randperm(
    n: int, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """The integers 0 … n - 1 in random order, int64, sorted by 64 random bits each."""
    if n < 0:
        raise ValueError(f"randperm: n is {n}; it must not be negative")
    counter = (generator or random.default_generator(device)).take(2 * n)
    order = np.argsort(random.bits(counter, 2 * n).view(np.uint64), kind="stable")
    where = chosen(device)
    return Tensor.from_array(where.asarray(order.astype(dtypes.dtype_of(dtype or INT64))), where)


@public("gpudl", "Tensor")
def bernoulli(input: Tensor, generator: Generator | None = None) -> Tensor:
    """1 with probability input, else 0, elementwise, in input's shape and dtype.

    Raises ValueError for a probability outside [0, 1] or NaN, except on cuda, where the check would
    have to wait for the GPU.
    """
    if (
        input.device.name in ("cpu", "emulator")
        and not ((input.array >= 0) & (input.array <= 1)).all()
    ):
        raise ValueError("bernoulli: input has a value outside [0, 1]; use probabilities")
    flat = _native_rank(input)
    counter = counter_on(input.device, input.numel(), generator)
    y: Tensor = apply(BernoulliOp.of(), flat, counter)
    return y if flat is input else _reshaped(y, input.shape)


@public("gpudl", "functional")
def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """In training, set elements to zero with probability p and divide the others by 1 - p.

    input: any shape. Backward draws the mask again instead of saving it. Raises ValueError unless
    0 <= p <= 1.
    """
    op = DropoutOp.of(float(p))
    require(0 <= p <= 1, op, "p", f"is {p}; it must be from 0 to 1")
    if not training or p == 0:
        return input
    flat = _native_rank(input)
    y: Tensor = apply(op, flat, counter_on(input.device, input.numel(), generator))
    y = y if flat is input else _reshaped(y, input.shape)
    return input._changed_in_place(y) if inplace else y


def _native_rank(x: Tensor) -> Tensor:
    """x with 1 to 4 axes, which the kernels take: other tensors are flattened, in order."""
    return x if 1 <= x.ndim <= 4 else _reshaped(x, (x.numel(),))


def _reshaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x.reshape(shape)
