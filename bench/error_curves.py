"""Errors of float32 products over the length of their sums, against float64.

    python bench/error_curves.py [--device cuda] [--out FILE.json] [--plots DIR] [--most K]

In units of 2^-24·Σ|a||b|, the yardstick of `set_float32_matmul_precision("highest")`: each kernel
must stay below a sequential float32 loop (fused multiply-adds on a GPU), for every K. Operands are
normal numbers, positive ones (errors add up), terms of many sizes, and badly scaled ones. In the
emulator mma truncates as tensor cores do. Exit code 1 if the root mean square of a kernel of
"highest" is above the loop's; single entries above the loop's largest error are listed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

M, N = 96, 80
KINDS = ("normal", "positive", "many sizes", "badly scaled")
UNIT = 2.0**-24


def operands(kind: str, k: int, m: int = M, n: int = N, span: int = 60) -> tuple[Any, Any]:
    """span: of the powers of two that badly scaled ones differ by, up and down."""
    rng = np.random.default_rng(k)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    if kind == "positive":
        a, b = np.abs(a), np.abs(b)
    elif kind == "many sizes":
        a = a * 2.0 ** rng.integers(-20, 20, (m, k))
    elif kind == "badly scaled":
        size = 2.0 ** rng.integers(-span, span, k)
        a, b = a * size, b / size[:, None]
    return a.astype(np.float32), b.astype(np.float32)


def loop(a: Any, b: Any, fused: bool) -> Any:
    """One rounding a step if fused, as a GPU's: products of float32 are exact in float64. The
    emulator rounds products too, for it is compiled without contraction."""
    c = np.zeros((len(a), b.shape[1]), np.float32)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    for k in range(a.shape[1]):
        product = wide_a[:, k, None] * wide_b[k]
        c = (c + (product if fused else product.astype(np.float32))).astype(np.float32)
    return c


def units(c: Any, a: Any, b: Any) -> tuple[float, float]:
    """Largest error, and the root of the mean square."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    error = np.abs(c - wide_a @ wide_b) / (UNIT * (np.abs(wide_a) @ np.abs(wide_b)))
    return float(error.max()), float(np.sqrt(np.mean(error**2)))


def contenders(device: str) -> dict[str, Any]:
    """Functions of (a, b) by name: our kernels for float32, and PyTorch's on the same device."""
    from gpudl.bench import theirs
    from gpudl.core.op import Spec
    from gpudl.devices.find import NativeDevice
    from gpudl.devices.find import device as find_device
    from gpudl.ops.matrix.matmul import MatmulOp

    torch = theirs.load(1)
    where, op = find_device(device), MatmulOp.of(False, False)
    specs = Spec((M, 64), np.dtype(np.float32)), Spec((64, N), np.dtype(np.float32))
    names = ["definition"]
    if device == "emulator":
        where.module.set_truncation(True)
    if isinstance(where, NativeDevice):
        NativeDevice.precision = "medium"  # every kernel, the rounding ones too
        names = [c.algorithm for c in where.candidates(op, "forward", specs)]

    def run(name: str, a: Any, b: Any) -> Any:
        """None where the kernel does not take such inputs."""
        specs = Spec(a.shape, a.dtype), Spec(b.shape, b.dtype)
        if isinstance(where, NativeDevice) and name not in {
            c.algorithm for c in where.candidates(op, "forward", specs)
        }:
            return None
        placed = where.asarray(a), where.asarray(b)
        return where.to_numpy(where.forward(op, specs, placed, name)[0])

    found: dict[str, Any] = {}
    for name in dict.fromkeys(names):
        found[f"gpudl {name}"] = lambda a, b, name=name: run(name, a, b)
    place = device if device.startswith("cuda") else "cpu"
    if torch is not None and (place == "cpu" or torch.cuda.is_available()):
        theirs.configure(torch, "highest")
        tensor = lambda x: torch.from_numpy(x).to(place)  # noqa: E731
        found["torch"] = lambda a, b: (tensor(a) @ tensor(b)).cpu().numpy()
    fused = device.startswith("cuda")
    return {"float32 loop": lambda a, b: loop(a, b, fused), **found}


def exact(name: str) -> bool:
    """Must it stay below the loop? Not those that round their operands, nor the peer."""
    from gpudl.ops.matrix.matmul import MatmulOp

    return name.startswith("gpudl") and name.removeprefix("gpudl ") not in MatmulOp.precision


def measure(device: str, most: int) -> Iterator[dict[str, Any]]:
    calls = contenders(device)
    for kind in KINDS:
        for power in range(most.bit_length()):
            a, b = operands(kind, 1 << power)
            row: dict[str, Any] = {"operands": kind, "k": 1 << power, "largest": {}, "rms": {}}
            for name, call in calls.items():
                if (result := call(a, b)) is None:
                    continue
                largest, rms = units(result, a, b)
                row["largest"][name] = float(f"{largest:.4g}")
                row["rms"][name] = float(f"{rms:.4g}")
            yield row


def exceeding(rows: list[dict[str, Any]], statistic: str) -> Iterator[str]:
    """Where kernels that must not err more than the loop do."""
    for row in rows:
        limit = row[statistic]["float32 loop"]
        for name, value in row[statistic].items():
            if exact(name) and value > limit * (1 + 1e-3):
                at = f"{row['operands']}, K={row['k']}"
                yield f"{at}: {statistic} of {name} {value:g} above the loop's {limit:g}"


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, kind in zip(figure.subplots(2, 2).flat, KINDS, strict=True):
        mine = [r for r in rows if r["operands"] == kind]
        for name in dict.fromkeys(n for r in mine for n in r["largest"]):
            there = [r for r in mine if name in r["largest"]]
            style = {"color": "black", "lw": 2, "ls": "--"} if name == "float32 loop" else {"lw": 1}
            values = [max(r["largest"][name], 1e-3) for r in there]
            axes.plot([r["k"] for r in there], values, label=name, **style)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_title(kind, fontsize=9)
        axes.set_xlabel("K")
        axes.set_ylabel("largest error / 2⁻²⁴·Σ|a||b|")
        axes.grid(True, color="#dddddd", lw=0.5)
    axes.legend(fontsize=7)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    from gpudl.bench import environment, report

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--plots", type=Path, help="a folder for the picture")
    parser.add_argument("--most", type=int, default=16384, help="longest sum")
    options = parser.parse_args()
    rows = []
    for row in measure(options.device, options.most):
        rows.append(row)
        worst = "  ".join(f"{name} {value:.3g}" for name, value in row["largest"].items())
        print(f"{row['operands']:<13} K={row['k']:<6} {worst}", flush=True)
    env = environment(options.device)
    above = {statistic: list(exceeding(rows, statistic)) for statistic in ("rms", "largest")}
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "environment": env,
            "curves": rows,
            "above": above["rms"],
            "single": above["largest"],
        }
        options.out.write_text(report.dumps(content), encoding="utf-8")
    if options.plots:
        where = env["hardware"] if options.device.startswith("cuda") else options.device
        title = f"float32 products, {where}, {env['date'][:10]}"
        try:
            draw(rows, title, options.plots / f"errors-{options.device.replace(':', '')}.png")
        except ImportError as error:
            print(f"no picture: {error}")
    for text in (*above["rms"], *above["largest"]):
        print(text)
    if not above["rms"]:
        print("no kernel of highest precision errs more than the float32 loop (rms)")
    return 1 if above["rms"] else 0


if __name__ == "__main__":
    sys.exit(main())
