"""float16 and bfloat16 on every device: computed in float32 wherever no kernel takes them."""

import numpy as np
import pytest

import gpudl
from gpudl import optim
from gpudl.nn import functional as F
from tests.ops.harness import needs_emulator

# Functions whose backward kernels read gradients only, none of the forward pass's arrays.
LINEAR = {
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2),
    "pad": lambda x: F.pad(x, (1, 1, 1, 1)),
    "dropout": lambda x: F.dropout(x, 0.5),
    "softmax": lambda x: F.softmax(x, 1),
    "embedding": lambda x: F.embedding(gpudl.tensor([0, 1], device=x.device), x[0, 0]),
}


@needs_emulator
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", LINEAR)
def test_gradients_on_a_device_without_a_kernel_for_the_format(name, dtype):
    x = gpudl.ones(2, 3, 4, 4, dtype=dtype, device="emulator", requires_grad=True)
    LINEAR[name](x).sum().backward()
    assert x.grad.dtype == x.dtype
    assert np.isfinite(x.grad.float().numpy()).all()


def test_an_update_that_overflows_float16_is_infinite_and_silent():
    weight = gpudl.nn.Parameter(gpudl.tensor([60000.0], dtype="float16"))
    weight.grad = gpudl.tensor([-60000.0], dtype="float16")
    optim.SGD([weight], lr=1.0).step()
    assert np.isinf(weight.detach().numpy()).all()


def test_functions_that_create_tensors_take_bfloat16_by_name():
    made = [
        gpudl.ones(2, dtype="bfloat16"),
        gpudl.arange(2, dtype="bfloat16"),
        gpudl.rand(2, dtype="bfloat16"),
        gpudl.randperm(2, dtype="bfloat16"),
    ]
    assert {x.dtype.name for x in made} == {"bfloat16"}
