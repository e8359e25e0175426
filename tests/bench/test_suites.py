"""The entries of the suites, and a tiny suite measured with and without PyTorch."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from gpudl.bench import Bench, Settings, measure, plots, report, suites, theirs
from gpudl.bench.suites import networks
from gpudl.bench.workload import Draw, Procedure, Scale, Workload
from gpudl.core.op import OPS
from gpudl.ops.activation.pieces import ReluOp
from gpudl.ops.matrix.linear import LinearOp
from gpudl.ops.matrix.matmul import MatmulOp
from tests.ops.harness import EMULATOR_MISSING

KINDS = ("cpu", "emulator", "cuda")
BRIEF = {"quick": True, "turns": 3}


@pytest.mark.parametrize("suite", [n for n in suites.NAMES if n != "kernels"])
@pytest.mark.parametrize("kind", KINDS)
def test_workloads_are_well_formed(suite, kind):
    """Names are unique, shapes fit the operator, and the quick selection is a subset."""
    every = list(suites.workloads(suite, Scale(kind, False)))
    quick = list(suites.workloads(suite, Scale(kind, True)))
    assert quick or suite == "rbm"
    assert max(Counter(w.name for w in every).values()) == 1
    if kind == "cuda":
        assert {w.name for w in quick} <= {w.name for w in every}
    for work in every:
        if isinstance(work, Workload):
            for direction in work.directions:
                cost = work.cost(direction, "float32")
                assert cost.flops >= 0
                assert cost.bytes > 0


def test_the_layers_of_a_network_fit_together():
    """Each shape appears once; each layer takes what the one before it returns."""
    layers = [layer for _, layer in networks.distinct()]
    assert len(layers) == len(set(layers)) > 80
    for layer, following in itertools.pairwise(networks.VGG16):
        assert layer.outputs == following.inputs
    for block, following in itertools.pairwise(networks.INCEPTIONS):
        _, _, one, _, three, _, five, projection = block
        assert one + three + five + projection == following[1]
    by_size = {l.size: l.inputs for l in networks.CONVS["ResNet-50"] if l.window == 1}
    assert by_size == {56: 256, 28: 512, 14: 1024, 7: 2048}


def test_backward_costs_as_much_as_its_products():
    work = Workload("w", LinearOp.of("none"), ((8, 4), (6, 4), (6,)))
    forward = work.cost("forward", "float32")
    both, x = work.cost("backward", "float32"), work.cost("backward x", "float32")
    assert forward.flops == 2 * 8 * 4 * 6
    assert (both.flops, x.flops) == (2 * forward.flops, forward.flops)
    assert x.bytes == 4 * (8 * 6 + 6 * 4 + 8 * 4)  # dy and weight read, dx written


def test_large_inputs_repeat_the_drawn_values(monkeypatch):
    monkeypatch.setattr("gpudl.bench.workload.DISTINCT", 7)
    drawn = Draw((3, 5)).array(np.random.default_rng(0), np.dtype(np.float32))
    assert drawn.shape == (3, 5)
    assert drawn.reshape(-1)[7:14].tolist() == drawn.reshape(-1)[:7].tolist()


TINY = (
    Workload("square 16", MatmulOp.of(False, False), ((16, 16), (16, 16))),
    Workload("relu", ReluOp.of(), ((2, 3, 4, 5),), independent=0),
    Procedure("count", lambda device, torch: {"gpudl": lambda: sum(range(9))}, items=9),
)


def rows_of(**settings):
    bench = Bench(Settings(**{**BRIEF, **settings}))
    return list(bench.suite("tiny", TINY)), bench


def test_rows_with_the_peer():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    try:
        rows, bench = rows_of(sustained=0.01)
    finally:
        torch.set_num_threads(threads)
    assert [(r["name"], r["direction"]) for r in rows] == [
        ("square 16", "forward"), ("square 16", "backward"), ("relu", "forward"),
        ("relu", "backward"), ("count", "step"),
    ]  # fmt: skip
    assert not bench.left_out
    for row in rows[:4]:
        assert set(row["seconds"]) == {"gpudl", "torch"}
        assert row["seconds"]["gpudl"]["turns"] == 3
        assert "samples" not in str(row)
        assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
        assert max(row["error"].values()) < 1e-6
        assert row["sustained"]["torch"] > 0
        assert row["roofline"] > 0
    assert report.summary(rows)[-1]["rows"] == 4


def test_rows_without_the_peer(tmp_path):
    rows, bench = rows_of(peer=False)
    assert all(set(r["seconds"]) == {"gpudl"} for r in rows)
    assert all("ratio" not in r for r in rows)
    content = report.report(bench, rows)
    assert content["summary"] == []
    path = report.destination(tmp_path, "cpu", ("tiny",))
    report.write(path, content)
    assert report.read(path)["rows"] == json.loads(json.dumps(rows))
    assert path.name.endswith("-cpu-tiny.json")
    again = report.destination(tmp_path, "cpu", ("tiny",))
    assert again.name == path.name.replace(".json", "-2.json")
    (picture,) = plots.draw(content, tmp_path / "plots")
    assert picture.name == "roofline-cpu-float32-highest.png"


def test_each_algorithm_has_its_own_row():
    rows, _ = rows_of(peer=False, algorithms="all", only="relu backward")
    assert [(r["algorithm"], r["chosen"]) for r in rows] == [
        ("pieces", True),
        ("definition", False),
    ]
    rows, _ = rows_of(peer=False, only="nothing")
    assert rows == []


def test_one_broken_row_does_not_stop_the_others(monkeypatch):
    def fails(bench, variant):
        if variant.direction == "forward":
            raise MemoryError("no room")
        yield {"name": variant.work.name}

    monkeypatch.setattr(measure, "workload", fails)
    rows, bench = rows_of(peer=False, only="square|relu")
    assert [r["name"] for r in rows] == ["square 16", "relu"]
    assert [e["reason"] for e in bench.left_out] == ["MemoryError: no room"] * 2


def test_nothing_runs_on_a_lost_device(monkeypatch):
    def fails(bench, variant):
        def wait():
            raise RuntimeError("illegal address")

        bench.clock.wait = wait
        wait()

    monkeypatch.setattr(measure, "workload", fails)
    rows, bench = rows_of(peer=False, only="square|relu")
    assert rows == []
    reasons = [entry["reason"] for entry in bench.left_out]
    assert (
        reasons == ["RuntimeError: illegal address"] + ["the device is lost: illegal address"] * 3
    )


def test_a_peer_that_fails_does_not_lose_our_row():
    pytest.importorskip("torch")

    def peer(torch, x):
        raise RuntimeError("no such kernel")

    work = Workload("relu", ReluOp.of(), ((2, 3),), ("forward",), peer=peer)
    bench = Bench(Settings(**BRIEF))
    (row,) = bench.suite("tiny", [work])
    assert set(row["seconds"]) == {"gpudl"}
    assert row["peer_failed"] == "torch: RuntimeError: no such kernel"


def test_rows_beyond_the_budget_are_left_out():
    rows, bench = rows_of(peer=False, budget=1e-9)
    assert rows == []
    assert {e["reason"] for e in bench.left_out} == {"no time left"}


@pytest.mark.skipif(EMULATOR_MISSING is not None, reason=str(EMULATOR_MISSING))
def test_kernels_in_the_emulator():
    bench = Bench(Settings(device="emulator", only="kernels/relu,", **BRIEF))
    rows = list(bench.suite("kernels", suites.workloads("kernels", Scale("emulator", True))))
    assert {r["algorithm"] for r in rows if r["operator"] in OPS} == {"flat"}
    assert all(r["error"]["gpudl"] < 1e-6 for r in rows)


def test_the_settings_of_the_peer():
    torch = pytest.importorskip("torch")
    before = torch.get_float32_matmul_precision()
    try:
        settings = theirs.configure(torch, "high")
        assert settings["cudnn.allow_tf32"] is True
        assert theirs.configure(torch, "highest")["cudnn.allow_tf32"] is False
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.benchmark = False


def test_arrays_are_shared_with_the_peer():
    torch = pytest.importorskip("torch")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.arange(24).reshape(1, 2, 3, 4).astype(ml_dtypes.bfloat16).transpose(0, 3, 1, 2)
    tensor = theirs.tensor(torch, array)
    assert tensor.dtype == torch.bfloat16
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert tensor.float().tolist() == array.astype(np.float32).tolist()
