"""Every model can be listed, built and looked up."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn


@pytest.mark.parametrize("name", models.names())
def test_a_model_has_a_description_and_a_source(name):
    info = models.info(name)
    assert info.description
    assert info.source
    assert info.year is not None


@pytest.mark.parametrize("name", models.names())
def test_a_model_is_summarised_on_the_meta_device(name):
    info = models.info(name)
    summary = info.summary()
    with gpudl.device("meta"):
        model = info.build()
    assert summary.parameters == sum(p.numel() for p in model.parameters()) > 0
    assert summary.multiply_adds > 0


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'lenet5'"):
        models.info("lenet")


def test_a_device_context_sets_where_tensors_are_created():
    with gpudl.device("meta"):
        net = nn.Sequential(nn.Linear(25088, 4096), nn.Conv2d(3, 8, 3))
        with gpudl.device("cpu"):
            inner = gpudl.zeros(2)
        outer = gpudl.zeros(2)
    assert {p.device.name for p in net.parameters()} == {"meta"}
    assert (inner.device.name, outer.device.name) == ("cpu", "meta")
    assert gpudl.zeros(2).device.name == "cpu"


def test_layers_on_meta_draw_no_random_numbers():
    gpudl.manual_seed(1)
    first = gpudl.rand(3).numpy()
    gpudl.manual_seed(1)
    with gpudl.device("meta"):
        nn.Linear(5, 5)
    np.testing.assert_array_equal(gpudl.rand(3).numpy(), first)
