"""Errors of float32 products against float64, over the length of their sums.

    python bench/error_curves.py [--device cuda] [--out FILE.json] [--plots DIR] [--most K]

The unit is 2^-24·Σ|a||b|. With `set_float32_matmul_precision("highest")` each kernel must stay
below a sequential float32 loop (with fused multiply-adds on a GPU) for every K. Operands are normal
numbers, positive numbers (whose errors add up), terms of many magnitudes, and badly scaled factors.
In the emulator, mma truncates as tensor cores do. The exit code is 1 if the root mean square error
of a "highest" kernel is above the loop's; a largest error above the loop's is only listed.
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
    """span: badly scaled factors lie between 2^-span and 2^span."""
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
    """A sequential loop. Fused, it rounds once per step like a GPU, because products of float32 are
    exact in float64. The emulator rounds products too, as it is compiled without contraction."""
    c = np.zeros((len(a), b.shape[1]), np.float32)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    for k in range(a.shape[1]):
        product = wide_a[:, k, None] * wide_b[k]
        c = (c + (product if fused else product.astype(np.float32))).astype(np.float32)
    return c


def units(c: Any, a: Any, b: Any) -> tuple[float, float]:
    """The largest and the root mean square error."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    error = np.abs(c - wide_a @ wide_b) / (UNIT * (np.abs(wide_a) @ np.abs(wide_b)))
    return float(error.max()), float(np.sqrt(np.mean(error**2)))


def contenders(device_name: str) -> dict[str, Any]:
    """Functions of (a, b) by name: our float32 kernels, and PyTorch on the same device."""
    from gpudl.bench import theirs
    from gpudl.core.op import Spec
    from gpudl.devices.find import NativeDevice
    from gpudl.devices.find import device as find_device
    from gpudl.ops.matrix.matmul import MatmulOp

    torch = theirs.load(1)
    device, op = find_device(device_name), MatmulOp.of(False, False)
    specs = Spec((M, 64), np.dtype(np.float32)), Spec((64, N), np.dtype(np.float32))
    names = ["definition"]
    if device_name == "emulator":
        device.module.set_truncation(True)
    if isinstance(device, NativeDevice):
        NativeDevice.precision = "medium"  # every kernel, including those that round operands
        names = [c.algorithm for c in device.candidates(op, "forward", specs)]

    def run(name: str, a: Any, b: Any) -> Any:
        """The product; None if the kernel does not accept the inputs."""
        specs = Spec(a.shape, a.dtype), Spec(b.shape, b.dtype)
        if isinstance(device, NativeDevice) and name not in {
            c.algorithm for c in device.candidates(op, "forward", specs)
        }:
            return None
        placed = device.asarray(a), device.asarray(b)
        return device.to_numpy(device.forward(op, specs, placed, name)[0])

    calls: dict[str, Any] = {}
    for name in dict.fromkeys(names):
        calls[f"gpudl {name}"] = lambda a, b, name=name: run(name, a, b)
    torch_device = device_name if device_name.startswith("cuda") else "cpu"
    if torch is not None and (torch_device == "cpu" or torch.cuda.is_available()):
        theirs.configure(torch, "highest")
        tensor = lambda x: torch.from_numpy(x).to(torch_device)  # noqa: E731
        calls["torch"] = lambda a, b: (tensor(a) @ tensor(b)).cpu().numpy()
    fused = device_name.startswith("cuda")
    return {"float32 loop": lambda a, b: loop(a, b, fused), **calls}


def exact(name: str) -> bool:
    """Whether its error must stay below the loop's: true for our kernels that do not round
    operands."""
    from gpudl.devices import modules

    ours, _, algorithm = name.partition(" ")
    if ours != "gpudl" or algorithm == "definition":
        return ours == "gpudl"
    built = next(name for name in modules.NAMES if modules.why_missing(name) is None)
    launcher = modules.launchers(built)[f"matmul_forward_{algorithm}"]
    return launcher.computes.rounds == "float32"


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
    """Messages for kernels whose errors exceed the loop's but must not."""
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
            points = [r for r in mine if name in r["largest"]]
            style = {"color": "black", "lw": 2, "ls": "--"} if name == "float32 loop" else {"lw": 1}
            values = [max(r["largest"][name], 1e-3) for r in points]
            axes.plot([r["k"] for r in points], values, label=name, **style)
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
    parser.add_argument("--plots", type=Path, help="a folder for the plot")
    parser.add_argument("--most", type=int, default=16384, help="length of the longest sum")
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
        hardware = env["hardware"] if options.device.startswith("cuda") else options.device
        title = f"float32 products, {hardware}, {env['date'][:10]}"
        try:
            draw(rows, title, options.plots / f"errors-{options.device.replace(':', '')}.png")
        except ImportError as error:
            print(f"no plot: {error}")
    for text in (*above["rms"], *above["largest"]):
        print(text)
    if not above["rms"]:
        print('no "highest" kernel has a larger rms error than the float32 loop')
    return 1 if above["rms"] else 0


if __name__ == "__main__":
    sys.exit(main())
