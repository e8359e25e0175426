"""Choice of the kernel: by prediction, by measurement on request, or as recorded in a run."""

from __future__ import annotations

import json

import numpy as np
import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl.core.choice import Choices, choices
from gpudl.core.launcher import Computes
from gpudl.core.machine import A100, H100, machine_of
from gpudl.core.op import Bounded
from gpudl.devices.find import NativeDevice, device
from gpudl.ops.matrix.linear import LinearOp
from gpudl.ops.matrix.matmul import MatmulOp
from tests.ops.harness import EMULATOR_MISSING

needs_emulator = pytest.mark.skipif(EMULATOR_MISSING is not None, reason=str(EMULATOR_MISSING))


@pytest.fixture
def image():
    rng = np.random.default_rng(0)

    def draw(*shape):
        array = rng.standard_normal(shape).astype(np.float32)
        return gpudl.tensor(array, device="emulator", requires_grad=True)

    return draw(2, 8, 7, 7), draw(16, 8, 3, 3)


@pytest.fixture(autouse=True)
def clean_choices(monkeypatch):
    for name, value in vars(Choices()).items():
        if name != "generation":
            monkeypatch.setattr(choices, name, value)
    yield
    choices.generation += 1


def kernel(op, *tensors):
    """The forward kernel that last ran on these shapes."""
    device = tensors[0].device
    specs = op.plan(tuple(t.array for t in tensors)).specs
    return device.chosen(op, "forward", specs)


@needs_emulator
class TestTuning:
    def seconds(self, monkeypatch, times):
        """Replaces measurements by `times`; returns the list of measured candidates."""
        measured = []
        fastest = choices.fastest

        def with_times(place, problem, candidates, seconds_of):
            def pretend(candidate):
                assert seconds_of(candidate) > 0
                measured.append(str(candidate))
                return times.get(candidate.algorithm, 1.0)

            return fastest(place, problem, candidates, pretend)

        monkeypatch.setattr(choices, "fastest", with_times)
        return measured

    def test_the_fastest_kernel_runs_and_is_measured_once(self, monkeypatch, tmp_path):
        a = gpudl.tensor(np.ones((8, 8), np.float32), device="emulator")
        op = MatmulOp.of(False, False)
        assert kernel_after(op, a).algorithm != "simt_large"
        measured = self.seconds(monkeypatch, {"simt_large": 0.1})
        with gpudl.tune(folder=tmp_path):
            assert kernel_after(op, a).algorithm == "simt_large"
            assert len(measured) == len(set(measured)) > 1
            (file,) = tmp_path.iterdir()
            stored = json.loads(file.read_text())
            assert "emulator" in stored["place"]
            assert any("float32[8, 8]" in problem for problem in stored["seconds"])
        assert kernel_after(op, a).algorithm != "simt_large", "tuning must end with the block"
        choices._measured.clear()
        with gpudl.tune(folder=tmp_path):
            assert kernel_after(op, a).algorithm == "simt_large"
        assert len(measured) == len(set(measured)), "not measured again but read from the file"

    def test_only_kernels_of_the_precision_are_tried(self, monkeypatch, tmp_path):
        a = gpudl.tensor(np.ones((8, 8), np.float32), device="emulator")
        measured = self.seconds(monkeypatch, {"mma_tf32": 0.01})
        with gpudl.tune(folder=tmp_path):
            a @ a
            assert "mma_tf32" not in measured
            gpudl.set_float32_matmul_precision("high")
            try:
                a @ a
                assert "mma_tf32" in measured
            finally:
                gpudl.set_float32_matmul_precision("highest")

    def test_a_resumed_run_repeats_its_choices(self, monkeypatch, tmp_path):
        a = gpudl.tensor(np.ones((8, 8), np.float32), device="emulator")
        op = MatmulOp.of(False, False)
        self.seconds(monkeypatch, {"simt_large": 0.1})
        with gpudl.tune(folder=tmp_path):
            kernel_after(op, a)
        record = json.loads(json.dumps(choices.state_dict()))
        choices._used.clear()
        assert kernel_after(op, a).algorithm != "simt_large"
        choices.load_state_dict(record)
        assert kernel_after(op, a).algorithm == "simt_large"

    def test_a_damaged_file_is_measured_again(self, monkeypatch, tmp_path):
        a = gpudl.tensor(np.ones((8, 8), np.float32), device="emulator")
        self.seconds(monkeypatch, {"simt_large": 0.1})
        with gpudl.tune(folder=tmp_path):
            a @ a
            (file,) = tmp_path.iterdir()
            whole = json.loads(file.read_text())
            ((problem, _),) = whole["seconds"].items()
            of_another_type = [
                json.dumps({**whole, "seconds": seconds})
                for seconds in ("x", {problem: []}, {problem: {"simt_large": "x"}})
            ]
            for text in ('{"place": ', *of_another_type):
                file.write_text(text)
                choices._measured.clear()
                choices.generation += 1
                a @ a
                assert json.loads(file.read_text())["seconds"] == whole["seconds"]

    def test_operators_that_change_their_inputs_are_not_measured(self, monkeypatch, tmp_path):
        measured = self.seconds(monkeypatch, {})
        p = gpudl.tensor(np.ones(8, np.float32), device="emulator", requires_grad=True)
        optimizer = gpudl.optim.SGD([p], lr=0.5)
        p.sum().backward()
        measured.clear()
        with gpudl.tune(folder=tmp_path):
            optimizer.step()
        assert measured == []
        np.testing.assert_array_equal(p.detach().numpy(), 0.5)


def kernel_after(op, a):
    """The kernel that computes a @ a."""
    a @ a
    return kernel(op, a, a)


def test_deterministic_mode_refuses_tuning():
    gpudl.use_deterministic_algorithms(True)
    assert gpudl.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="use_deterministic_algorithms"):
        gpudl.tune()
    gpudl.use_deterministic_algorithms(False)
    with gpudl.tune(), pytest.raises(RuntimeError, match="tune"):
        gpudl.use_deterministic_algorithms(True)


@needs_emulator
class TestExplain:
    def test_lists_kernels_of_both_directions_and_marks_the_choice(self, image, capsys):
        gpudl.explain(F.conv2d, *image, padding=1)
        text = capsys.readouterr().out
        for direction in ("forward", "backward"):
            table = text.split(f" {direction} ")[1].split("Op(")[0]
            assert table.count("\n*") == 1
            assert "im2col" in table
            assert "direct" in table
            assert "predicted" in table
            assert "measured" in table
        assert all(t.grad is None for t in image)

    def test_modules_are_explained_on_their_device(self, capsys):
        gpudl.explain(gpudl.nn.Linear(3, 2), gpudl.ones(4, 3), measure=False)
        text = capsys.readouterr().out
        assert "LinearOp" in text
        assert "on cpu" in text
        assert "measured" not in text

    def test_needs_a_tensor(self):
        with pytest.raises(TypeError, match="no argument is a Tensor"):
            gpudl.explain(F.relu, 3)


def test_a_prediction_is_the_larger_of_arithmetic_and_bytes():
    flops, moved = 2 * 8192**3, 3 * 8192**2 * 2
    bound = flops / 989.4e12 + H100.launch
    assert H100.roofline(Computes("bfloat16", "wgmma"), flops, moved) == pytest.approx(bound)
    assert H100.roofline(Computes(), 1e3, 3.35e9) == pytest.approx(1e-3 + H100.launch)
    assert H100.ceiling(Computes("tf32", "mma", 3)) == pytest.approx(494.7e12 * 0.62 / 3)
    assert H100.ceiling(Computes()) == 66.9e12


def test_a_partial_last_wave_counts_as_a_whole_one():
    assert H100.waves(132) == 1
    assert H100.waves(133) == pytest.approx(264 / 133)
    assert H100.waves(264, resident=2) == 1
    assert H100.waves(0) == 1


def test_unknown_machines_are_scaled_from_the_nearest_known():
    half = machine_of("80", 54)
    assert half.flops["tf32"] == A100.flops["tf32"] / 2
    assert machine_of("90", 132) == H100
    assert machine_of("90", 132, 1 << 16).shared_bytes == 1 << 16


@needs_emulator
def test_candidates_begin_with_the_preferred_kernel():
    emulator = device("emulator")
    assert isinstance(emulator, NativeDevice)
    op = LinearOp.of("none")
    x, w = np.zeros((4, 8), np.float32), np.zeros((3, 8), np.float32)
    specs = op.plan((x, w, None)).specs
    candidates = emulator.candidates(op, "forward", specs)
    known = emulator.kernels(op, "forward")
    assert candidates[0].algorithm == op.prefer(None, "highest", known, *specs)[0].algorithm
    assert len(candidates) == len(set(candidates))


def test_caches_of_shapes_stay_bounded():
    cache = Bounded()
    for i in range(5000):
        cache[i] = i
    assert len(cache) <= Bounded.LIMIT
    assert cache[4999] == 4999
