"""Pages run on the requested device."""

import os

import pytest

from gpudl import zoo
from gpudl.devices.find import cpu, device

pytestmark = pytest.mark.slow

PAGES = (
    "dbm", "dbn", "first-nets", "neocognitron", "one-versus-five", "rbm", "rbm-units", "rnn",
    "shallow",
)  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs_on_its_device(name, tmp_path, monkeypatch):
    if not os.environ.get("GPUDL_DATA"):
        pytest.skip("GPUDL_DATA does not name a folder with the data sets")
    calls = {"cpu": 0, "emulator": 0}
    for place in (cpu, device("emulator")):
        for direction in ("forward", "backward"):
            run = getattr(place, direction)

            def counted(*arguments, run=run, where=place.name):
                calls[where] += 1
                return run(*arguments)

            monkeypatch.setattr(place, direction, counted)
    record = zoo.write(name, tmp_path, quick=True, device="emulator")
    assert record["device"] == "emulator"
    assert calls["cpu"] < calls["emulator"] / 20, calls  # a model may be created there and moved
