"""Each command does its work and reports it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpudl.cli import doctor


def test_train_prints_the_accuracy_and_writes_a_run(gpudl, blocks, tmp_path):
    result = gpudl("train", "mlp", "--data", blocks, "--epochs", 2, "--device", "cpu")
    assert result.code == 0
    assert result.err == ""
    lines = result.out.splitlines()
    assert lines[0].startswith("training mlp (235,146 parameters) on ")
    assert lines[1].split()[0] == "epoch"
    assert [line.split()[0] for line in lines[2:4]] == ["1/2", "2/2"]
    assert re.match(r"test accuracy [01]\.\d{4} \(\d+ of 40\), loss \d\.\d{4}$", lines[4])
    assert "wrote runs/mlp-blocks-1/curves.png" in lines
    assert lines[-1] == "next: gpudl evaluate runs/mlp-blocks-1"
    config = json.loads((tmp_path / "runs/mlp-blocks-1/config.json").read_text())
    assert config["training"]["epochs"] == 2
    assert config["data"]["name"] == str(blocks)


@pytest.mark.slow
def test_two_runs_of_one_seed_have_the_same_bits(gpudl, blocks, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        options = ("--epochs", 1, "--seed", seed, "--out", name, "--option", "dropout=0.3")
        assert gpudl("train", "mlp", "--data", blocks, *options).code == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_evaluate_agrees_with_train(gpudl, trained):
    result = gpudl("evaluate", trained)
    assert result.code == 0
    assert "most common mistake" in result.out
    last = (trained / "history.csv").read_text().splitlines()[-1].split(",")
    assert f"test accuracy {float(last[5]):.4f}" in result.out.splitlines()[-1]


def test_evaluate_on_other_data(gpudl, trained, tmp_path):
    images = np.zeros((10, 28, 28), np.uint8)
    np.savez(tmp_path / "more.npz", x_train=images, y_train=np.arange(10), x_test=images,
             y_test=np.arange(10))  # fmt: skip
    result = gpudl("evaluate", trained, "--data", "more.npz")
    assert result.out.splitlines()[-1].startswith("test accuracy 0.1000 (1 of 10)")
    assert (trained / "confusion-more.png").exists()
    np.savez(tmp_path / "few.npz", images=images, labels=np.arange(10) // 5)
    result = gpudl("evaluate", trained, "--data", "few.npz")
    assert result.code == 2
    assert "2 classes" in result.err


def test_predict(gpudl, trained, blocks, tmp_path):
    with np.load(blocks) as arrays:
        image, label = arrays["test_images"][3], arrays["test_labels"][3]
    Image.fromarray(image).save(tmp_path / "one.png")
    Image.fromarray(255 - image).resize((56, 56)).convert("RGB").save(tmp_path / "two.jpg")
    result = gpudl("predict", trained, "one.png", "two.jpg", "--top", 2, "--as-is")
    assert result.code == 0
    assert "two.jpg: it was resized from 56x56 to 28x28" in result.out
    row = next(line for line in result.out.splitlines() if line.startswith("one.png  "))
    assert row.split()[1] == str(label)
    assert (trained / "predictions/one.png").exists()
    assert (trained / "predictions/two.png").exists()


def test_models(gpudl):
    out = gpudl("models").out
    assert re.search(r"^lenet5 +61,706 +416,520 +1×28×28 +digits +1998 .*LeCun", out, re.MULTILINE)
    assert "mlp" in out


def test_one_model_with_its_layers_and_options(gpudl):
    out = gpudl("models", "mlp").out
    assert "hidden=(256, 128)" in out
    assert re.search(r"Linear\) +1×128 +32,896 +32,768", out)
    assert "did you mean 'conv_vae' or 'dense_vae'" in gpudl("models", "vae").err
    assert "not both" in gpudl("models", "mlp", "--recipes").err


def test_doctor_lists_everything(gpudl):
    result = gpudl("doctor")
    assert result.code == 0
    for name in ("cpu", "emulator", "cuda", "C++", "nvcc", "driver", "CuPy", "BLAS", "GPUDL_DATA"):
        assert re.search(rf"^  {re.escape(name)} +(ok|--) +\S", result.out, re.MULTILINE), name


def test_doctor_says_where_each_data_set_is(gpudl, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "sets/tiny-shakespeare").mkdir(parents=True)
    (tmp_path / "sets/tiny-shakespeare/input.txt").touch()
    monkeypatch.setenv("GPUDL_DATA", str(tmp_path / "sets"))
    out = gpudl("doctor").out
    assert re.search(r"digits +ok +comes with gpudl", out)
    assert re.search(r"tiny-shakespeare +ok +\S+/sets/tiny-shakespeare", out)
    assert re.search(r"mnist +-- +is downloaded when it is first used", out)
    monkeypatch.setattr(doctor, "installed", lambda package: None)
    assert re.search(r"mnist +-- +is not here; .*gpudl\[train\]", gpudl("doctor").out)


@pytest.mark.parametrize(
    ("driver", "module", "cupy", "expected"),
    [
        ((13, 0), (13, 0), 13, []),
        ((13, 1), (12, 4), 12, []),
        (None, None, None, []),
        (None, (13, 0), None, []),
        ((12, 4), (13, 0), 12, ["580 or newer, or build with a CUDA 12", "'gpudl[cuda13]'"]),
        ((12, 4), (12, 4), 13, ["uninstall cupy-cuda13x and pip install 'gpudl[cuda12]'"] * 2),
    ],
)
def test_doctor_finds_incompatible_versions(driver, module, cupy, expected):
    problems = doctor.mismatches(driver, module, cupy)
    assert len(problems) == len(expected)
    for text, part in zip(problems, expected, strict=True):
        assert part in text


def test_bench_writes_its_measurements(gpudl, tmp_path):
    options = ("--only", "kernels/relu", "--device", "cpu", "--quick", "--no-peer", "--out", "b")
    result = gpudl("bench", "kernels", *options)
    assert result.code == 0
    (path,) = (tmp_path / "b").glob("*-cpu-kernels.json")
    report = json.loads(path.read_text())
    assert report["environment"]["device"] == "cpu"
    assert report["environment"]["versions"]["numpy"]
    row = report["rows"][0]
    assert row["operator"] == "relu"
    assert row["seconds"]["gpudl"]["median"] > 0
    assert row["gbytes_per_second"] > 0
    assert "measured ceilings: copy" in result.out


def test_bench_without_matplotlib_keeps_its_measurements(gpudl, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    options = ("--only", "kernels/relu,", "--device", "cpu", "--quick", "--no-peer")
    result = gpudl("bench", "kernels", *options, "--out", "b.json", "--plots", "p")
    assert result.code == 0
    assert "no pictures: " in result.out
    assert (tmp_path / "b.json").exists()


def test_bench_refuses_unknown_arguments(gpudl):
    assert "did you mean gemm?" in gpudl("bench", "gem").err
    assert "'float33' is not one of" in gpudl("bench", "gemm", "--dtype", "float33").err
    assert "not a regular expression" in gpudl("bench", "gemm", "--only", "(").err
    assert gpudl("bench", "step", "--only", "nothing", "--device", "cpu").code == 1


def test_help_and_version(gpudl):
    for command in ("train", "evaluate", "predict", "models", "bench", "where", "doctor"):
        result = gpudl(command, "--help")
        assert result.code == 0
        assert f"usage: gpudl {command}" in result.out
    assert re.match(r"gpudl \d+\.\d+", gpudl("--version").out)


def test_importing_the_command_line_is_light():
    code = (
        "import sys, gpudl.cli; "
        "print([m for m in ('matplotlib', 'sklearn', 'tqdm', 'PIL', 'torch', 'gpudl.train') "
        "if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_bench_tune_keeps_its_measurements(gpudl, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words = ("bench", "tune", "kernels", "--device", "emulator", "--only", "matmul, nn")
    result = gpudl(*words)
    assert result.code == 0, result.err
    file = Path(result.out.splitlines()[-1].split(": ")[1])
    problems = json.loads(file.read_text())["seconds"]
    assert any(p.startswith("MatmulOp") and " backward " in p for p in problems)
    assert all(len(seconds) > 1 for seconds in problems.values())


def test_bench_tune_needs_kernels_to_choose_from(gpudl):
    result = gpudl("bench", "tune", "gemm", "--device", "cpu")
    assert result.code == 2
    assert "add --device cuda" in result.err
