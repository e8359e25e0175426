"""Predicted times of a convolution's kernels on a GPU, to rank them before any is measured.

A prediction counts an algorithm's operations (with the padding of its tiles and the idle
multiprocessors of the last wave), the arrays it moves and its launches. DIRECT holds the only
assumptions.

Why there is no Winograd: F(2x2, 3x3) needs 16 products for 4 outputs instead of 36 (Lavin and Gray,
"Fast Algorithms for Convolutional Neural Networks", CVPR 2016), and its error is acceptable: on
normal numbers, with 8 to 512 channels, it stayed below that of a sequential float32 loop. But its
transformed tiles are 4 times as large as image and output and are written and read once: traffic of
about 9 (x + y) instead of (x + y). For float32 layers of ResNet, batch 32, on an H100 at 3 TB/s,
with split TF32 at 102 TFLOP/s (a third of what mma.sync reaches), in microseconds:

    channels, size     64, 56x56    256, 14x14    512, 7x7 (8x8 in tiles)
    implicit product          73            73            73
    Winograd, products        32            32            42
    Winograd, traffic        154            38            25

It would gain less than a tenth, and only in the last stage. Fused into one kernel, it would need
the registers and shared memory that the split products use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gpudl.ops.matrix.cost import gemm_pieces

if TYPE_CHECKING:
    from gpudl.core.launcher import Launcher
    from gpudl.core.machine import Machine

LARGE, SMALL = (128, 128, 8), (32, 32, 16)  # tiles (BM, BN, BK) of csrc/prim/gemm/gemm_simt.h
TILES = {
    "implicit_mma_tf32x3": (128, 64, 16),
    "implicit_mma_tf32": (128, 128, 16),
    "implicit_mma_bf16": (128, 128, 32),
    "implicit_mma_f16": (128, 128, 32),
    "implicit_wgmma_bf16": (128, 128, 64),
}
# Assumed share of the CUDA cores' peak that the direct kernels reach, by channels per thread: with
# 8 channels each loaded x feeds 8 products, with 1 only one.
DIRECT = {1: 0.12, 4: 0.3, 8: 0.45}


class Product(NamedTuple):
    """m·n sums of k terms per group. what: "forward", "data" or "weight"; channels: terms per
    tap, 0 if the terms are pixels; launches: sweeps that share the results."""

    what: str
    m: int
    n: int
    k: int
    groups: int
    channels: int = 0
    launches: int = 1


def products(op: Any, direction: str, specs: tuple[Any, ...]) -> Iterator[Product]:
    """The matrix products of one direction of the convolution that the kernels compute."""
    image, output = op.image_and_output(*specs)
    weight, groups = specs[1].shape, op.groups
    filters, depth = weight[0] // groups, math.prod(weight[1:])
    outputs, pixels = (s.size // max(1, s.shape[1]) for s in (output, image))
    sweeps = math.prod(op.stride)
    # Each sweep covers part of the window; together they cover it once.
    forward = Product("forward", outputs, filters, depth, groups, weight[1])
    taps = -(-math.prod(weight[2:]) // sweeps)
    data = Product("data", pixels, weight[1], taps * filters, groups, filters, sweeps)
    transposed = image is not specs[0]
    if direction == "forward":
        yield data if transposed else forward
    else:
        yield forward if transposed else data
        yield Product("weight", filters, depth, outputs, groups)


def seconds(op: Any, machine: Machine, kernel: Launcher, specs: tuple[Any, ...]) -> float:
    item = specs[0].dtype.itemsize
    moved = item * (specs[1].size + sum(s.size for s in op.image_and_output(*specs)))
    total = 0.0
    for product in products(op, kernel.direction, specs):
        computes = kernel.computes.of_sum(product.k)
        if kernel.algorithm == "direct":
            channels = product.m if product.what == "weight" else product.n
            share = DIRECT[1 if channels == 1 else 4 if channels <= 4 else 8]
            flops: float = 2 * product.m * product.n * product.k * product.groups
            total += machine.roofline(computes, flops / share, moved)
        else:
            columns = 2 * item * op.columns_of_image(*specs) * specs[0].shape[0]
            explicit = kernel.algorithm == "im2col"
            flops = _tiled(machine, kernel, product)
            total += machine.roofline(computes, flops, moved + (columns if explicit else 0))
            total += machine.launch * explicit
        total += machine.launch * (product.launches - 1)
    return total


def _tiled(machine: Machine, kernel: Launcher, p: Product) -> float:
    """Operations of all tiles, including idle multiprocessors in the last wave."""
    large = min(p.m, p.n) > 64 and p.m * p.n * p.groups >= 64 * 128 * 128
    bm, bn, bk = LARGE if large else SMALL
    if kernel.computes.of_sum(p.k).unit != "simt":
        bm, bn, bk = TILES[kernel.algorithm]
    tiles = -(-p.m // bm) * -(-p.n // bn) * p.groups
    pieces = gemm_pieces(kernel.module, p.m, p.n, p.k, p.groups)
    k = -(-p.k // bk) * bk
    if kernel.computes.unit == "wgmma" and p.channels:  # every tap starts a new stage
        k = p.k // p.channels * -(-p.channels // bk) * bk
    flops = 2 * bm * bn * tiles * k
    return flops * machine.waves(tiles * pieces)
