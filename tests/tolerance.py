"""Tolerances: one table, by dtype of the products and length of the sums."""

from __future__ import annotations

import numpy as np

# Unit roundoff of the operands, as they enter the products.
UNIT = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "tf32": 2.0**-11,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}


def tolerance(kind: str, reduction: int) -> tuple[float, float]:
    """(rtol, atol): errors of a sum of terms of size one grow as the square root of its length."""
    unit = UNIT[kind]
    return 16 * unit, 8 * unit * (4 + np.sqrt(reduction))


def assert_close(got, want, kind: str = "float32", reduction: int = 1, what: str = "") -> None:
    """Equal within the table's tolerance; NaN only where NaN is expected; dtype and shape equal."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    if want.dtype.kind not in "f" and want.dtype.name != "bfloat16":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    rtol, atol = tolerance(kind, reduction)
    np.testing.assert_allclose(
        got.astype(np.float64), want.astype(np.float64), rtol=rtol, atol=atol, err_msg=what
    )
