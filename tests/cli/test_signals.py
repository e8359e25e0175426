"""Ctrl-C, SIGTERM and SIGKILL: training resumes from what was saved as if never stopped."""

import csv
import hashlib
import random
import signal
import time

import pytest

LONG = ("--epochs", 400, "--save-every", 0.2)


def wait_for(process, path, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{path.name} did not appear"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_stop_saves_and_says_how_to_continue(spawn, blocks, tmp_path, number, code):
    process = spawn("train", "mlp", "--data", blocks, "--out", "r", *LONG)
    wait_for(process, tmp_path / "r" / "history.csv")
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code, out
    assert "continue with: gpudl train --resume r" in out
    assert "Traceback" not in out
    assert (tmp_path / "r" / "checkpoint.safetensors").exists()
    assert not (tmp_path / "r" / "model.safetensors").exists()


def test_ctrl_c_before_training_starts(spawn, blocks, tmp_path):
    """config.json is written before the model is created."""
    process = spawn("train", "mlp", "--data", blocks, "--out", "r", *LONG)
    wait_for(process, tmp_path / "r" / "config.json")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "Traceback" not in out


def finish(process):
    out, _ = process.communicate(timeout=280)
    assert process.returncode == 0, out
    assert out.splitlines()[-1].startswith("next: gpudl evaluate ")
    return out


def results(run):
    digest = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"], row["images_per_second"]
    return digest, rows


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lenet5", "mlp"])
def test_killed_at_random_moments_and_resumed_gives_the_same_bits(spawn, tmp_path, model):
    """Trains on the real digits. Each process lives a little longer than the one before, so
    training finishes however slow the machine is."""
    options = ("--seed", 5, "--epochs", 4, "--save-every", 0.05)
    if model == "mlp":
        options += ("--option", "dropout=0.2")
    finish(spawn("train", model, "--out", "whole", *options))
    process = spawn("train", model, "--out", "killed", *options)
    wait_for(process, tmp_path / "killed" / "checkpoint.safetensors")
    rng, kills = random.Random(0), 0
    while True:
        time.sleep(rng.uniform(0.2, 1.5) * (1 + 0.3 * kills))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        process = spawn("train", "--resume", "killed", "--save-every", 0.05)
    finish(process)
    assert kills > 0
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob(".*"))
