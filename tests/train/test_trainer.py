"""The training loop, and resuming bit for bit from a checkpoint of any step."""

import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest

from gpudl import data, nn, optim
from gpudl.train import (
    DivergedError,
    EarlyStopping,
    Job,
    Progress,
    StoppedError,
    Trainer,
    TrainingError,
    configure,
    load_state,
    load_weights,
)
from gpudl.train.epochs import Row

SMALL = {"epochs": 2, "batch_size": 32, "schedule": "cosine"}  # 5 steps per epoch


def start(blocks, folder, **options):
    return Job.start(configure("mlp", data=str(blocks), **{**SMALL, **options}), folder)


def stopped_after(step, job):
    """Stops the job after a step, resumes it from its folder and finishes it."""

    def ask(trainer):
        if trainer.step == step:
            job.stop_request.request("test")

    job.progress.on_step_end = ask  # runs before the callback that stops
    with job, pytest.raises(StoppedError):
        job.train()
    with Job.resume(job.run) as again:
        assert again.trainer.step == step
        again.train()
        again.finish()
    return again


def test_it_learns_and_writes_all_files(blocks, tmp_path):
    with start(blocks, tmp_path / "run", epochs=4) as job:
        job.train()
        result = job.finish()
        pictures = list(job.draw())
    assert pictures == ["confusion.png", "mistakes.png", "curves.png", "filters.png"]
    assert result.accuracy > 0.9
    assert [row.epoch for row in job.trainer.history] == [1, 2, 3, 4]
    assert job.trainer.history[-1].loss < job.trainer.history[0].loss / 2
    assert {path.name for path in job.run.folder.iterdir()} == {
        "checkpoint.safetensors",
        "config.json",
        "confusion.png",
        "curves.png",
        "filters.png",
        "history.csv",
        "mistakes.png",
        "model.safetensors",
    }
    with job.run.history.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["5", "10", "15", "20"]
    assert float(rows[-1]["test_accuracy"]) == result.accuracy
    weights = load_weights(job.run.weights)
    for name, tensor in job.model.state_dict().items():
        np.testing.assert_array_equal(weights[name], tensor.numpy(), strict=True)


@pytest.fixture(scope="module")
def whole(blocks, tmp_path_factory):
    """An uninterrupted training run, made once for each optimizer and schedule."""
    finished = {}

    def train(**options):
        key = repr(options)
        if key not in finished:
            with start(blocks, tmp_path_factory.mktemp("whole") / "run", **options) as job:
                job.train()
                job.finish()
            finished[key] = job.run
        return finished[key]

    return train


def bits_of(run):
    return run.weights.read_bytes()


def untimed(run):
    with run.history.open() as file:
        rows = list(csv.DictReader(file))
    return [
        {k: v for k, v in r.items() if not k.endswith("second") and k != "seconds"} for r in rows
    ]


@pytest.mark.parametrize("step", [1, 4, 5, 7, 10])
def test_resumed_after_any_step_gives_the_same_bits(blocks, tmp_path, whole, step):
    again = stopped_after(step, start(blocks, tmp_path / "run"))
    assert bits_of(again.run) == bits_of(whole())
    assert untimed(again.run) == untimed(whole())


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "schedule": "step", "epochs": 3, "weight_decay": 1e-3},
        {"optimizer": "adamw", "schedule": "plateau", "patience": 2, "epochs": 3},
        {"optimizer": "rmsprop", "schedule": "sqrt"},
        {"optimizer": "adagrad", "schedule": "constant", "augment": "shift+flip"},
    ],
    ids=lambda options: options["optimizer"],
)
def test_every_optimizer_and_schedule_resumes(blocks, tmp_path, whole, options):
    again = stopped_after(8, start(blocks, tmp_path / "run", **options))
    assert bits_of(again.run) == bits_of(whole(**options))
    assert untimed(again.run) == untimed(whole(**options))


def test_dropout_continues_its_random_stream(blocks, tmp_path, whole):
    """The random state is part of a checkpoint, so a resumption does not change the masks."""
    options = {"options": {"dropout": 0.5, "hidden": [32]}}
    job = stopped_after(3, start(blocks, tmp_path / "run", **options))
    assert bits_of(job.run) == bits_of(whole(**options))


def test_diverging_training_keeps_the_last_good_checkpoint(blocks, tmp_path):
    job = start(blocks, tmp_path / "run", optimizer="sgd", lr=1e30, schedule="constant")
    with (
        job,
        pytest.raises(
            DivergedError,
            match=r"not finite|loss is (nan|inf).*smaller.*--lr.*last good state is in",
        ),
    ):
        job.train()
    state = load_state(job.run.checkpoint)
    assert all(np.isfinite(array).all() for array in state["model"].values())
    assert not job.run.weights.exists()


def test_a_failing_save_keeps_the_last_checkpoint(blocks, tmp_path, monkeypatch):
    job = start(blocks, tmp_path / "run")
    before = job.run.checkpoint.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with job, pytest.raises(OSError, match="No space left"):
        job.train()
    assert job.run.checkpoint.read_bytes() == before


def epochs(stopping, *losses, test="a test part"):
    """The reason for stopping after epochs with these losses."""
    trainer = SimpleNamespace(stop_reason=None, test=test)
    for number, loss in enumerate(losses, 1):
        tested = loss if test else math.nan
        row = Row(number, number, loss, math.nan, tested, math.nan, 0.1, 1.0, 1.0)
        stopping.on_epoch_end(trainer, row)
    return trainer.stop_reason


def test_early_stopping():
    stopping = EarlyStopping(patience=2)
    assert epochs(stopping, 1.0, 0.5, 0.6) is None
    again = EarlyStopping(patience=2)
    again.load_state_dict(stopping.state_dict())
    assert "test_loss has not improved for 2 epochs" in epochs(again, 0.5)
    with pytest.raises(ValueError, match="patience 0"):
        EarlyStopping(0)


def test_early_stopping_without_a_test_part_watches_the_training_loss():
    assert epochs(EarlyStopping(2), 3, 2, 1, 0.5, test=None) is None
    assert epochs(EarlyStopping(2), 3, 2, 2, 2, test=None) is not None


def test_early_stopping_names_a_metric_that_does_not_exist_or_is_nan():
    with pytest.raises(
        ValueError, match="metric is 'test_accuracy'; it must be one of epoch, step, l"
    ):
        epochs(EarlyStopping(2, "test_accuracy", "max"), 1.0)
    with pytest.warns(
        UserWarning, match="test_loss is NaN in epoch 2; this counts as no improvement"
    ):
        assert epochs(EarlyStopping(1), 1.0, math.nan) is not None


def test_a_regression_has_no_accuracy(capsys):
    x = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    y = x @ np.float32([[1], [-2], [0.5]])
    net = nn.Linear(3, 1)
    loader = data.Loader(data.ArrayDataset(x, y), 16, device="cpu")
    progress = Progress(bar=False)
    trainer = Trainer(
        net, optim.SGD(net.parameters(), lr=0.1), nn.MSELoss(), loader, loader, [progress]
    )
    row = trainer.fit(20)[-1]
    assert row.test_loss < 1e-2
    assert not row.has_accuracy
    header, *lines = capsys.readouterr().out.splitlines()
    assert "accuracy" not in header
    assert {len(line) for line in lines} == {len(header)}


def test_the_rate_in_the_history_is_that_of_the_last_step(blocks, tmp_path):
    with start(blocks, tmp_path / "run", epochs=1, schedule="cosine") as job:
        job.train()
        (row,) = job.trainer.history
        assert job.trainer.learning_rate == 0
        assert row.lr > 0


def test_labels_of_pixels_have_no_accuracy():
    x = np.zeros((4, 1, 3, 3), np.float32)
    loader = data.Loader(data.ArrayDataset(x, np.ones((4, 3, 3), np.int64)), 2, device="cpu")
    net = nn.Conv2d(1, 2, 1)
    row = Trainer(
        net, optim.SGD(net.parameters(), lr=1), nn.CrossEntropyLoss(), loader, loader
    ).fit(1)[0]
    assert row.loss > row.test_loss
    assert not row.has_accuracy


def test_a_run_accepts_one_process_and_unchanged_data(blocks, tmp_path):
    with start(blocks, tmp_path / "run"), pytest.raises(TrainingError, match="another process"):
        Job.resume(tmp_path / "run")
    Job.resume(tmp_path / "run").close()
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace("[160, 40]", "[161, 40]"))
    with pytest.raises(TrainingError, match="restore the data"):
        Job.resume(tmp_path / "run")


def test_runs_are_numbered(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = []
    for _ in range(2):
        job = start(blocks, None)
        folders.append(str(job.run))
        job.close()
    assert folders == ["runs/mlp-blocks-1", "runs/mlp-blocks-2"]
    with pytest.raises(TrainingError, match=r"already has files in it.*--resume"):
        start(blocks, "runs/mlp-blocks-1")


def test_round_trip_of_the_configuration(blocks, tmp_path):
    job = start(blocks, tmp_path / "run")
    job.close()
    assert job.run.config() == job.config
    job.run.config_path.write_text('{"model": "mlp", "surprise": 1}')
    with pytest.raises(TrainingError, match="is not a configuration"):
        job.run.config()
