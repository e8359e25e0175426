"""Accuracy of matrix products: errors against float64 in units of 2^-24·Σ|a||b|."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from bench.error_curves import loop, operands, units
from gpudl.core.machine import H100, Machine
from gpudl.core.op import Spec
from gpudl.devices.find import NativeDevice
from gpudl.ops.matrix.matmul import MatmulOp
from tests.ops import harness as h

native = pytest.mark.parametrize("where", h.native_devices())
HIGHEST = (
    "simt",
    "simt_large",
    "mma_bf16x6",
    "mma_tf32x3",
)  # float32 at "highest" may choose these
M, N = 64, 33
OP = MatmulOp.of(False, False)


def product(where: str, algorithm: str, a, b):
    device = h.native(where)
    if algorithm.partition(":")[0] not in device.algorithms(OP, "forward"):
        pytest.skip(f"this GPU does not have {algorithm}")  # it depends on compute capability
    placed = device.asarray(a), device.asarray(b)
    specs = Spec(a.shape, a.dtype), Spec(b.shape, b.dtype)
    return device.to_numpy(device.forward(OP, specs, placed, algorithm)[0])


def drawn(kind: str, k: int):
    return operands(kind, k, M, N, span=90)  # badly scaled: too wide a range to split


@native
@pytest.mark.parametrize("algorithm", HIGHEST)
@pytest.mark.parametrize("kind", ["normal", "positive", "many sizes", "badly scaled"])
def test_highest_is_as_accurate_as_a_float32_loop(where, algorithm, kind):
    for k in (1, 2, 4, 16, 31, 32, 33, 64, 96, 129, 512, 2048):
        a, b = drawn(kind, k)
        # The emulator does not fuse multiply-adds, so its reference loop does not either. Split
        # products are compared with the fused loop on every device.
        computes = h.native(where).launcher(OP, "forward", algorithm).computes
        splits = computes.of_sum(k).products > 1 and kind != "badly scaled"
        largest, mean = units(product(where, algorithm, a, b), a, b)
        largest_of_loop, mean_of_loop = units(loop(a, b, where == "cuda" or splits), a, b)
        print(f"{kind}, k = {k}: {algorithm} {largest:.2f} (mean {mean:.2f}), "
              f"loop {largest_of_loop:.2f} ({mean_of_loop:.2f})")  # fmt: skip
        assert largest <= largest_of_loop, k
        assert mean <= mean_of_loop, k


@pytest.fixture
def truncation():
    if h.EMULATOR_MISSING:
        pytest.skip(h.EMULATOR_MISSING)
    module = h.native("emulator").module
    module.set_truncation(True)
    yield
    module.set_truncation(False)


@pytest.mark.parametrize("algorithm", ["mma_bf16x6", "mma_tf32x3"])
@pytest.mark.parametrize("kind", ["normal", "positive", "many sizes"])
def test_splitting_holds_where_tensor_cores_truncate(truncation, algorithm, kind):
    """Tensor cores of GPUs do; see csrc/platform/emulator/truncating_sum.h."""
    for k in (32, 48, 96, 129, 512):
        a, b = drawn(kind, k)
        if h.native("emulator").launcher(OP, "forward", algorithm).computes.fewest > k:
            continue
        largest, mean = units(product("emulator", algorithm, a, b), a, b)
        largest_of_loop, mean_of_loop = units(loop(a, b, fused=True), a, b)
        assert largest <= largest_of_loop, k
        assert mean <= mean_of_loop, k


def test_truncation_drops_bits_far_below_the_largest_term(truncation):
    """15·2^-25 + 1: a float32 loop that adds the small terms first keeps their sum."""
    a = np.full((1, 16), 2.0**-25, np.float32)
    a[:, 15] = 1
    b = np.ones((16, 1), np.float32)
    assert product("emulator", "mma_bf16x1", a, b) == 1
    h.native("emulator").module.set_truncation(False)
    assert product("emulator", "mma_bf16x1", a, b) > 1


@native
@pytest.mark.parametrize("algorithm", [*HIGHEST, "mma_tf32", "mma_bf16x1"])
def test_infinities_and_nan_are_those_of_a_loop(where, algorithm):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20, 70)).astype(np.float32)
    b = rng.standard_normal((70, 30)).astype(np.float32)
    a[0, 5], a[1, 6], a[2, 7] = np.inf, -np.inf, np.nan
    a[3, 8], b[8] = np.inf, 0.0  # inf * 0
    a[4, 9], a[4, 10] = np.inf, -np.inf
    with np.errstate(all="ignore"):
        want = (a[:, :, None] * b[None]).sum(axis=1)
    got = product(where, algorithm, a, b)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(want))
    np.testing.assert_array_equal(np.isneginf(got), np.isneginf(want))


@native
@pytest.mark.parametrize("algorithm", HIGHEST)
def test_splitting_preserves_extreme_numbers(where, algorithm):
    """The largest and smallest normal numbers, whose parts could overflow or underflow."""
    a = np.zeros((16, 64), np.float32)
    b = np.eye(64, 16, dtype=np.float32)
    top, bottom = np.finfo(np.float32).max, np.finfo(np.float32).tiny
    a[0, 0], a[1, 1], a[2, 2], a[3, 3] = top, -top, bottom, 2.0**-100 * (1 + 2.0**-23)
    np.testing.assert_array_equal(product(where, algorithm, a, b), a[:, :16])


@native
@pytest.mark.parametrize("algorithm", ["mma_bf16", "wgmma_bf16", "mma_f16", "wgmma_f16"])
def test_16_bit_products_are_summed_in_float32_and_rounded_once(where, algorithm):
    pytest.importorskip("ml_dtypes")  # adds bfloat16 to NumPy
    dtype, bits = ("float16", 11) if algorithm.endswith("_f16") else ("bfloat16", 8)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(dtype) for s in ((72, 200), (200, 136)))
    got = product(where, algorithm, a, b).astype(np.float64)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    exact, scale = wide_a @ wide_b, np.abs(wide_a) @ np.abs(wide_b)
    assert (np.abs(got - exact) <= 2.0**-bits * np.abs(exact) + 2.0**-20 * scale).all()


@native
def test_float16_conversions_agree_with_numpy(where):
    """All kinds of numbers, and products that round to each kind."""
    rng = np.random.default_rng(0)
    one = np.ones((1, 1), np.float16)
    everything = np.arange(0, 1 << 16, 11).astype(np.uint16).view(np.float16)[:, None]
    with np.errstate(all="ignore"):
        got = product(where, "mma_f16", everything, one)
        np.testing.assert_array_equal(got, everything)  # all NaNs count as equal
        a, b = (rng.integers(0, 1 << 16, n).astype(np.uint16).view(np.float16) for n in (250, 130))
        got = product(where, "mma_f16", a[:, None], b[None])
        want = (a.astype(np.float32)[:, None] * b.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(got, want)


@native
@pytest.mark.parametrize("algorithm", ["mma_bf16x6", "mma_f16", "mma_bf16"])
@pytest.mark.parametrize("shape", [1, 2])
def test_every_tile_shape(where, algorithm, shape):
    pytest.importorskip("ml_dtypes")
    dtype = {"mma_bf16x6": "float32", "mma_f16": "float16", "mma_bf16": "bfloat16"}[algorithm]
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(s).astype(dtype) for s in ((140, 70), (70, 131)))
    got = product(where, f"{algorithm}:{shape}", a, b).astype(np.float64)
    want = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(got, want, rtol=2.0**-7, atol=1e-4 if dtype == "float32" else 0.1)


@h.needs_emulator
def test_precision_defaults_to_highest():
    assert gpudl.get_float32_matmul_precision() == "highest"
    spec = Spec((512, 512), np.dtype(np.float32))
    where = h.native("emulator")
    float32 = tuple(k for k in where.kernels(OP, "forward") if where.takes(OP, k, (spec, spec)))

    def first(machine: Machine | None) -> str:
        precision = gpudl.get_float32_matmul_precision()
        return OP.prefer(machine, precision, float32, spec, spec)[0].algorithm

    assert first(H100) == "mma_bf16x6"
    try:
        gpudl.set_float32_matmul_precision("high")
        assert first(H100) == "wgmma_tf32"
        gpudl.set_float32_matmul_precision("medium")
        assert first(H100) == "mma_bf16x1"
        assert first(None) == "simt"  # the fastest to emulate
    finally:
        gpudl.set_float32_matmul_precision("highest")
    with pytest.raises(ValueError, match="precision is 'low'; it must be one of"):
        gpudl.set_float32_matmul_precision("low")


def test_changing_the_precision_makes_a_new_plan():
    if h.EMULATOR_MISSING:
        pytest.skip(h.EMULATOR_MISSING)
    where, op = h.native("emulator"), MatmulOp.of(False, False)
    a = np.eye(8, dtype=np.float32)
    specs = (Spec(a.shape, a.dtype),) * 2
    where.forward(op, specs, (a, a))
    NativeDevice.precision = "high"
    try:
        assert where.chosen(op, "forward", specs) is None
        where.forward(op, specs, (a, a))
        assert where.chosen(op, "forward", specs) is not None
    finally:
        NativeDevice.precision = "highest"
    assert where.chosen(op, "forward", specs) is not None
