"""Matrix products, and the precision of float32 products on tensor cores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor, shared
from gpudl.core.launcher import Launcher, Launchers
from gpudl.core.machine import Machine
from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.devices.find import NativeDevice
from gpudl.ops.matrix.cost import gemm_seconds

PRECISIONS = ("highest", "high", "medium")


@public("gpudl")
def set_float32_matmul_precision(precision: str) -> None:
    """Set how precisely GPUs multiply float32 matrices in later calls.

    "highest" (default): at most the error of a float32 loop (docs/precision.md). "high": operands
    rounded to TF32, 11 significant bits. "medium": rounded to bfloat16, 8 bits. Sums are always in
    float32, and cpu always computes in float32. Raises ValueError for any other precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"set_float32_matmul_precision: precision is {precision!r}; it must be one of "
            f"{PRECISIONS}"
        )
    NativeDevice.precision = precision


@public("gpudl")
def get_float32_matmul_precision() -> str:
    """ "highest", "high" or "medium"; see set_float32_matmul_precision."""
    return NativeDevice.precision


class Product(Op):
    """Base of operators built on matrix products: the algorithms of csrc/prim/gemm/gemm.h."""

    kernels: ClassVar[tuple[str, ...]] = (
        "simt", "simt_large", "mma_bf16x6", "mma_tf32x3", "wgmma_tf32", "mma_tf32", "mma_bf16x1",
        "wgmma_bf16", "mma_bf16", "wgmma_f16", "mma_f16",
    )  # fmt: skip

    def extents(self, *specs: Any) -> tuple[int, int, int, int]:
        """(batch, m, n, k) of the forward product."""
        raise TypeError(f"{type(self).__name__} declares no extents")

    def prefer(
        self, machine: Machine | None, precision: str, kernels: Launchers, *specs: Any
    ) -> Launchers:
        """By predicted time among those precise enough: "high" allows TF32 products of float32,
        "medium" bfloat16. The emulator keeps the declared order, the fastest to emulate first."""
        if machine is None:
            return kernels
        wanted = {"highest": "float32", "high": "tf32", "medium": "bfloat16"}[precision]

        def rank(kernel: Launcher) -> tuple[bool, float]:
            time = self.predict(machine, kernel, *specs)
            return kernel.computes.rounds not in ("float32", wanted), time

        return tuple(sorted(kernels, key=rank))

    def tile_shapes(self, kernel: Launcher, *specs: Any) -> tuple[int, ...]:
        """1 and 2 are small and large for simt, large and small for mma (gemm_mma.h)."""
        shaped = kernel.algorithm == "simt" or kernel.computes.unit == "mma"
        return (0, 1, 2) if shaped else (0,)

    def predict(self, machine: Machine, kernel: Launcher, *specs: Any) -> float:
        batch, m, n, k = self.extents(*specs)
        itemsize = next(s.dtype.itemsize for s in specs if s is not None)
        products = [(m, n, k)] if kernel.direction == "forward" else [(m, k, n), (k, n, m)]
        return sum(gemm_seconds(machine, kernel, batch, *p, itemsize) for p in products)

    def supports(self, kernel: Launcher, *specs: Any) -> bool:
        """TMA needs rows aligned to 16 bytes."""
        if kernel.computes.unit != "wgmma":
            return True
        present = [s for s in (*specs, self.infer(*specs)[0]) if s is not None and len(s.shape) > 1]
        return all(s.size > 0 and s.shape[-1] * s.dtype.itemsize % 16 == 0 for s in present)

    def cost(self, *specs: Any) -> Cost:
        batch, m, n, k = self.extents(*specs)
        present = [s for s in (*specs, *self.infer(*specs)) if s is not None]
        moved = sum(s.size * s.dtype.itemsize for s in present)
        return Cost(2 * batch * m * n * k, moved, batch * m * n * k)

    def reduction(self, *specs: Any) -> int:
        return max(self.extents(*specs))  # k forward, m, n and batch backward


class MatmulOp(Product):
    """y = a · b over stacks of matrices.

    a: (…, m, k), or (…, k, m) with transpose_a; b: (…, k, n), or (…, n, k) with transpose_b. The
    leading axes are equal, or all ones (or absent) in one operand, which is then reused for all
    matrices of the other. An operand with one axis is a single row as stored; the result lacks that
    axis.
    """

    inputs = ("a", "b")
    saves = ("a", "b")
    transpose_a: bool = False
    transpose_b: bool = False

    def infer(self, a: Spec, b: Spec) -> tuple[Spec, ...]:
        require_float(self, a=a, b=b)
        both = f"a {a} and b {b}"
        require(len(a.shape) >= 1, self, "a", f"is {a}; it must have at least one axis")
        require(len(b.shape) >= 1, self, "b", f"is {b}; it must have at least one axis")
        fits = len(a.shape) > 1 or not self.transpose_a
        require(fits, self, "a", f"is {a}; transpose_a needs at least two axes")
        require(
            len(b.shape) > 1 or self.transpose_b,
            self,
            "b",
            f"is {b}, a single row; set transpose_b to multiply by a vector",
        )
        m, k = _matrix(a.shape, self.transpose_a)
        k_of_b, n = _matrix(b.shape, self.transpose_b)
        require(k == k_of_b, self, "b", f"has {k_of_b} rows, but a has {k} columns: {both}")
        stacks = {_strip(s.shape[:-2]) for s in (a, b)} - {()}
        require(
            len(stacks) <= 1,
            self,
            "b",
            f"and a have different leading axes: {both}; they must be equal or all ones (use "
            "expand)",
        )
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        shape = batch + (m,) * (len(a.shape) > 1) + (n,) * (len(b.shape) > 1)
        return (Spec(shape, a.dtype),)

    def extents(self, a: Spec, b: Spec) -> tuple[int, int, int, int]:
        m, k = _matrix(a.shape, self.transpose_a)
        n = _matrix(b.shape, self.transpose_b)[1]
        batch = max(_count(a), _count(b)) if _count(a) and _count(b) else 0
        if _count(b) == 1 and not self.transpose_a:
            return 1, batch * m, n, k  # one product over all rows
        return batch, m, n, k

    def forward(self, xp: Any, a: Any, b: Any) -> tuple[Any, ...]:
        y = self.infer(Spec(a.shape, a.dtype), Spec(b.shape, b.dtype))[0]
        a, b = self._stacks(a, b)
        product = xp.matmul(_swap(a, self.transpose_a), _swap(b, self.transpose_b))
        return (product.reshape(y.shape).astype(y.dtype, copy=False),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        spec_a, spec_b = saved.specs
        a, b = self._stacks(saved.a, saved.b)
        m, n = _swap(a, self.transpose_a).shape[1], _swap(b, self.transpose_b).shape[2]
        dy = wide(dys[0]).reshape(max(len(a), len(b)) if len(a) and len(b) else 0, m, n)
        da = db = None
        if needs[0]:
            da = xp.matmul(dy, _swap(b, not self.transpose_b))
            da = _gather(_swap(da, self.transpose_a), a, spec_a)
        if needs[1]:
            db = xp.matmul(_swap(a, not self.transpose_a), dy)
            db = _gather(_swap(db, self.transpose_b), b, spec_b)
        return da, db

    def _stacks(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Both as (batch, rows, columns); if a single b serves all of a, so does a single a."""
        a, b = wide(a), wide(b)
        a, b = (x.reshape(_count(x), *_matrix(x.shape, False)) for x in (a, b))
        if len(b) == 1 and not self.transpose_a:
            a = a.reshape(1, -1 if a.size else len(a) * a.shape[1], a.shape[2])
        return a, b

    def twin(self, torch: Any, a: Any, b: Any) -> Any:
        a = a.transpose(-1, -2) if self.transpose_a else a
        b = b.transpose(-1, -2) if self.transpose_b and b.ndim > 1 else b
        return torch.matmul(a, b)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from _product_cases()
        yield from _stack_cases()
        yield from _bfloat16_cases()
        yield from _float16_cases()
        yield from _refused_cases()


def _matrix(shape: tuple[int, ...], transpose: bool) -> tuple[int, int]:
    rows, columns = shape[-2:] if len(shape) > 1 else (1, *shape)
    return (columns, rows) if transpose else (rows, columns)


def _strip(batch: tuple[int, ...]) -> tuple[int, ...]:
    """The leading axes without ones at the front."""
    while batch and batch[0] == 1:
        batch = batch[1:]
    return batch


def _count(x: Any) -> int:
    """Number of matrices in a stack."""
    n = 1
    for extent in x.shape[:-2]:
        n *= extent
    return n


def _swap(x: Array, swap: bool) -> Array:
    return x.swapaxes(-1, -2) if swap else x


def wide(x: Array) -> Array:
    """16-bit floats as float32, to sum in."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def _gather(gradient: Array, stack: Array, spec: Spec) -> Array:
    """The gradient of an operand, summed over the batches that reused it."""
    if len(stack) == 1 and len(gradient) != 1:
        gradient = gradient.sum(axis=0)
    return gradient.reshape(spec.shape).astype(spec.dtype, copy=False)


@public("gpudl", "Tensor", special=("__matmul__",))
def matmul(input: Tensor, other: Any) -> Tensor:
    """Matrix product, as in torch.matmul: (…, m, k) by (…, k, n) -> (…, m, n).

    Leading axes broadcast. A vector on the left is a row, one on the right a column, and the result
    lacks that axis: two vectors give their inner product. Raises ValueError if the inner extents
    differ.
    """
    if not isinstance(other, Tensor):
        other = shared(other, input.device)
    left, right = input.shape[:-2], other.shape[:-2]
    stacks = {_strip(left), _strip(right)} - {()}
    if len(stacks) > 1:
        batch = np.broadcast_shapes(left, right)
        a: Any = input
        b: Any = other
        input = a.expand(*batch, *input.shape[-2:])
        other = b.expand(*batch, *other.shape[-2:])
    return apply(MatmulOp.of(False, other.ndim == 1), input, other)  # type: ignore[no-any-return]


@public("Tensor")
def __rmatmul__(self: Tensor, other: Any) -> Tensor:
    """other · self, for an array on the left."""
    return matmul(shared(other, self.device), self)


@public("gpudl", "Tensor")
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Matrix product of exactly two axes each: (m, k) by (k, n) -> (m, n)."""
    for name, x in (("input", input), ("mat2", mat2)):
        if x.ndim != 2:
            raise ValueError(f"mm: {name} has shape {tuple(x.shape)}; it must have 2 axes")
    return matmul(input, mat2)


@public("gpudl", "Tensor")
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Batched matrix product: (b, m, k) by (b, k, n) -> (b, m, n)."""
    for name, x in (("input", input), ("mat2", mat2)):
        if x.ndim != 3:
            raise ValueError(f"bmm: {name} has shape {tuple(x.shape)}; it must have 3 axes")
    if len(input) != len(mat2):
        raise ValueError(
            f"bmm: mat2 has {len(mat2)} matrices; it must have {len(input)}, like input"
        )
    return matmul(input, mat2)


# -------------------------------------------------------------------- cases


def draw(*shapes: tuple[int, ...]) -> Any:
    """make(rng) of a Case: normal arrays of these shapes."""
    return lambda rng: tuple(rng.standard_normal(s).astype(np.float32) for s in shapes)


def draw_bfloat16(*shapes: tuple[int, ...]) -> Any:
    """`draw` in bfloat16, which ml_dtypes adds to NumPy."""

    def make(rng: np.random.Generator) -> tuple[Array, ...]:
        import ml_dtypes

        return tuple(rng.standard_normal(s).astype(ml_dtypes.bfloat16) for s in shapes)

    return make


def draw_float16(*shapes: tuple[int, ...]) -> Any:
    """`draw` in float16."""
    return lambda rng: tuple(rng.standard_normal(s).astype(np.float16) for s in shapes)


def _product_cases() -> Iterator[Case]:
    a = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    b = np.array([[7, 8], [9, 10], [11, 12]], np.float32)
    y = np.array([[58, 64], [139, 154]], np.float32)  # by hand: 1·7 + 2·9 + 3·11 = 58, …
    yield Case("by hand", MatmulOp.of(False, False), lambda rng: (a, b), golden=(y,))
    for transpose_a in (False, True):
        for transpose_b in (False, True):
            op = MatmulOp.of(transpose_a, transpose_b)
            kind = "nt"[transpose_a] + "nt"[transpose_b]
            for m, n, k in [(130, 140, 37), (7, 5, 1), (1, 70, 20), (64, 32, 16), (33, 3, 66)]:
                shape_a = (k, m) if transpose_a else (m, k)
                shape_b = (n, k) if transpose_b else (k, n)
                yield Case(f"{kind} {m}x{n}x{k}", op, draw(shape_a, shape_b))
    op = MatmulOp.of(False, False)
    yield Case("1x1x1", op, draw((1, 1), (1, 1)))
    yield Case("no sum", op, draw((3, 0), (0, 4)))
    yield Case("no rows", op, draw((0, 3), (3, 4)))
    yield Case("no columns", op, draw((5, 3), (3, 0)))
    yield Case("long sum in pieces", op, draw((7, 777), (777, 5)))
    yield Case("skinny", op, draw((515, 6), (6, 2)))


def _stack_cases() -> Iterator[Case]:
    op, mixed, transposed = (MatmulOp.of(*f) for f in ((False, False), (True, False), (True, True)))
    yield Case("stack of 3", op, draw((3, 9, 17), (3, 17, 11)))
    yield Case("stack of 3, both transposed", transposed, draw((3, 17, 9), (3, 11, 17)))
    yield Case("stack of 1", op, draw((1, 9, 17), (1, 17, 11)))
    yield Case("empty stack", op, draw((0, 9, 4), (0, 4, 11)))
    yield Case("two leading axes", op, draw((2, 3, 4, 5), (2, 3, 5, 6)))
    yield Case("one matrix for a stack", op, draw((3, 9, 17), (17, 11)))
    yield Case("one matrix for a transposed stack", mixed, draw((3, 17, 9), (17, 11)))
    yield Case("a stack for one matrix", op, draw((9, 17), (3, 17, 11)))
    yield Case("leading ones", op, draw((1, 1, 9, 17), (3, 17, 11)))
    yield Case("one matrix for an empty stack", op, draw((0, 9, 17), (17, 11)))
    yield Case("an empty stack for one matrix", op, draw((9, 17), (0, 17, 11)))
    yield Case("vector, matrix", op, draw((17,), (17, 11)))
    yield Case("matrix, vector", MatmulOp.of(False, True), draw((9, 17), (17,)))
    yield Case("vector, vector", MatmulOp.of(False, True), draw((17,), (17,)))
    yield Case("stack, vector", MatmulOp.of(False, True), draw((2, 3, 9, 17), (17,)))
    yield Case("vector, stack", op, draw((17,), (3, 17, 11)))


def _bfloat16_cases() -> Iterator[Case]:
    for fields in ((False, False), (False, True), (True, False), (True, True)):
        op = MatmulOp.of(*fields)
        kind = "bfloat16 " + "".join("nt"[f] for f in fields)
        for m, n, k in [(130, 140, 37), (72, 136, 64), (7, 5, 1)]:
            shape_a = (k, m) if fields[0] else (m, k)
            shape_b = (n, k) if fields[1] else (k, n)
            yield Case(f"{kind} {m}x{n}x{k}", op, draw_bfloat16(shape_a, shape_b))
    op = MatmulOp.of(False, False)
    yield Case("bfloat16 stack", op, draw_bfloat16((3, 16, 40), (3, 40, 24)))
    yield Case("bfloat16 a stack for one matrix", op, draw_bfloat16((16, 40), (3, 40, 24)))
    yield Case("bfloat16 long sum in pieces", op, draw_bfloat16((8, 776), (776, 16)))
    yield Case("bfloat16 no sum", op, draw_bfloat16((8, 0), (0, 16)))


def _float16_cases() -> Iterator[Case]:
    a = np.array([[1, 2**-14, 2**-24]], np.float16)  # 2^-24 is subnormal
    b = np.array([[3, 1, 0], [1, 0, 4], [0, 2**-1, 8]], np.float16)
    y = np.array([[3 + 2**-14, 1 + 2**-25, 2**-12 + 2**-21]], np.float16)  # by hand, rounded once
    yield Case("float16 by hand", MatmulOp.of(False, False), lambda rng: (a, b), golden=(y,))
    for fields, (m, n, k) in [
        ((False, True), (130, 70, 37)),
        ((True, False), (72, 40, 64)),
        ((False, True), (72, 136, 72)),
    ]:
        shape_a = (k, m) if fields[0] else (m, k)
        shape_b = (n, k) if fields[1] else (k, n)
        name = "float16 " + "".join("nt"[f] for f in fields)
        yield Case(f"{name} {m}x{n}x{k}", MatmulOp.of(*fields), draw_float16(shape_a, shape_b))


def _refused_cases() -> Iterator[Case]:
    op = MatmulOp.of(False, False)
    mismatch = r"matmul: b has 4 rows, but a has 3 columns: a float32\[2, 3\] and b float32\[4, 5\]"
    yield Case("inner extents differ", op, draw((2, 3), (4, 5)), error=mismatch)
    yield Case("stacks differ", op, draw((2, 3, 4), (3, 4, 5)), error="matmul: b and a have")
    yield Case("a number", op, draw((), (4, 5)), error="matmul: a is float32")
    yield Case("integers", op, lambda rng: (np.ones((2, 2), int),) * 2, error="matmul: a is int64")
    two_dtypes = lambda rng: (np.ones((2, 2), np.float32), np.ones((2, 2)))  # noqa: E731
    yield Case("two dtypes", op, two_dtypes, error="matmul: b is float64, but a is float32")
