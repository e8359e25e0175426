"""The error bound of float32 products, and the list of kernels above it."""

import numpy as np
import pytest

from bench import error_curves as curves
from gpudl.devices.find import NativeDevice
from tests.ops.harness import needs_emulator


@pytest.fixture(autouse=True)
def _precision(monkeypatch):
    monkeypatch.setattr(NativeDevice, "precision", "highest")


def test_the_loop_rounds_like_a_gpu_or_like_the_emulator():
    third = np.float32(1) / np.float32(3)
    a, b = np.full((1, 2), third), np.full((2, 1), third)
    product = np.float64(third) ** 2
    once = np.float32(np.float64(np.float32(product)) + product)
    twice = np.float32(product) + np.float32(product)
    assert curves.loop(a, b, fused=True)[0, 0] == once
    assert curves.loop(a, b, fused=False)[0, 0] == twice


def test_errors_are_in_units_of_the_rounding():
    a, b = np.ones((2, 4), np.float32), np.ones((4, 3), np.float32)
    assert curves.units(a @ b, a, b) == (0, 0)
    wrong = (a @ b).astype(np.float64)
    wrong[0, 0] += 2 * 4 * curves.UNIT
    largest, rms = curves.units(wrong, a, b)
    assert largest == 2
    assert rms == pytest.approx(2 / np.sqrt(6))


def test_curves_of_the_cpu(tmp_path):
    rows = list(curves.measure("cpu", 4))
    assert [(r["operands"], r["k"]) for r in rows][:3] == [("normal", k) for k in (1, 2, 4)]
    assert len(rows) == 3 * len(curves.KINDS)
    assert all(r["largest"]["gpudl definition"] <= r["k"] for r in rows)
    curves.draw(rows, "test", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


@needs_emulator
def test_kernels_above_the_loop_are_listed():
    row = {"operands": "normal", "k": 8}
    row["rms"] = {"float32 loop": 1.0, "gpudl simt": 1.2, "gpudl mma_tf32": 900.0, "torch": 1.5}
    assert list(curves.exceeding([row], "rms")) == [
        "normal, K=8: rms of gpudl simt 1.2 above the loop's 1"
    ]
