"""Every registered model: trained by name, stopped, resumed, evaluated, used for predictions."""

import numpy as np
import pytest

from gpudl import models
from gpudl.cli import main
from gpudl.models.registry import OF_CODES
from gpudl.train import Job, Run, configure
from tests.train.resuming import assert_same_weights, stopped_and_resumed

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")

LIMIT, BATCH = 8, 4
# Of the nets for photographs only a few are trained; the others are only prepared.
LARGE = [
    name
    for name in models.names()
    if models.info(name).input_shape[-1] > 100 and name not in ("googlenet", "resnet18")
]
pytestmark = pytest.mark.slow
QUESTION = {True: "a rose is", False: "image.png"}  # whether the model reads text


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Files by kind of input: grey images (1), colour images (3), a text."""
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    files = {}
    for channels in (1, 3):
        files[channels] = folder / f"{channels}.npz"
        images = rng.integers(0, 256, (80, channels, 32, 32)).astype(np.uint8)
        np.savez(files[channels], images=images, labels=np.arange(80) % 10)
    files["text"] = folder / "verse.txt"
    files["text"].write_text("a rose is a rose is a rose is a rose.\n" * 100)
    return files


def data_for(name, sets):
    info = models.info(name)
    return str(sets["text" if info.task in OF_CODES else info.input_shape[0]])


@pytest.mark.parametrize("name", LARGE)
def test_a_large_net_is_prepared_without_memory_for_its_weights(name, sets):
    """Everything but the weights: the resized data, the options, the logits."""
    config = configure(name, data=data_for(name, sets), limit=4).config
    assert config.parameters > 1e6
    assert config.data.sizes == (4, 4)


@pytest.mark.parametrize("name", sorted(set(models.names()) - set(LARGE)))
def test_a_model_is_trained_resumed_evaluated_and_used(name, sets, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data, device = data_for(name, sets), ["--device", "cpu"]
    words = ["--data", data, "--limit", str(LIMIT), "--batch-size", str(BATCH), "--epochs", "1"]
    assert main(["train", name, *words, *device, "--out", "whole"]) == 0
    prepared = configure(name, data=data, limit=LIMIT, batch_size=BATCH, epochs=1)
    again = stopped_and_resumed(Job.start(prepared, "parts"), step=1)
    assert_same_weights(Run("whole"), again.run)
    has_metric, answer = again.task.judges(again.model), again.task.answer(again.model)
    assert main(["evaluate", "whole", *device]) == (0 if has_metric else 2)
    Image.new("L", (32, 32), 99).save("image.png")
    capsys.readouterr()
    code = main(["predict", "whole", QUESTION[models.info(name).task in OF_CODES], *device])
    output = capsys.readouterr()
    assert code == (2 if answer is None else 0), output.err
    assert answer is not None or "see the pictures in" in output.err
