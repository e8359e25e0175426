"""Every model of the zoo can be listed, built and found."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn


@pytest.mark.parametrize("name", models.names())
def test_a_model_says_where_it_comes_from(name):
    info = models.info(name)
    assert info.description
    assert info.source
    assert info.year is not None


@pytest.mark.parametrize("name", models.names())
def test_a_model_is_summarised_without_its_memory(name):
    info = models.info(name)
    found = info.summary()
    with gpudl.device("meta"):
        built = info.build()
    assert found.parameters == sum(p.numel() for p in built.parameters()) > 0
    assert found.multiply_adds > 0


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'lenet5'"):
        models.info("lenet")


def test_a_with_statement_says_where_tensors_are_made():
    with gpudl.device("meta"):
        net = nn.Sequential(nn.Linear(25088, 4096), nn.Conv2d(3, 8, 3))
        with gpudl.device("cpu"):
            inner = gpudl.zeros(2)
        outer = gpudl.zeros(2)
    assert {p.device.name for p in net.parameters()} == {"meta"}
    assert (inner.device.name, outer.device.name) == ("cpu", "meta")
    assert gpudl.zeros(2).device.name == "cpu"


def test_what_is_made_on_meta_draws_no_random_numbers():
    gpudl.manual_seed(1)
    first = gpudl.rand(3).numpy()
    gpudl.manual_seed(1)
    with gpudl.device("meta"):
        nn.Linear(5, 5)
    np.testing.assert_array_equal(gpudl.rand(3).numpy(), first)
