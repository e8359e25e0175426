"""Layers in bfloat16 give float32's results within bfloat16's precision, forward and backward."""

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.nn import functional as F
from tests.ops.harness import DEVICES

# Name: (arguments, shape of the input).
LAYERS = {
    **dict.fromkeys(("ReLU", "GELU", "Tanh", "Softplus", "Mish", "Softmax"), ((), (2, 4, 6))),
    "Linear": ((4, 3), (5, 4)),
    **{f"Conv{n}d": ((4, 3, 3), (2, 4, *(5,) * n)) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": ((4, 3, 3), (2, 4, *(5,) * n)) for n in (1, 2, 3)},
    **{f"AvgPool{n}d": ((2,), (2, 4, *(6,) * n)) for n in (1, 2, 3)},
    **{f"MaxPool{n}d": ((2,), (2, 4, *(6,) * n)) for n in (1, 2, 3)},
    **{f"AdaptiveAvgPool{n}d": ((2,), (2, 4, *(5,) * n)) for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": ((4,), (3, 4, *(5,) * n)) for n in (1, 2, 3)},
    **{f"InstanceNorm{n}d": ((4,), (3, 4, *(5,) * n)) for n in (1, 2, 3)},
    "LayerNorm": ((8,), (5, 8)),
    "RMSNorm": ((8,), (5, 8)),
    "GroupNorm": ((2, 4), (3, 4, 5)),
    "LocalResponseNorm": ((3,), (2, 4, 5, 5)),
    "Upsample": ((None, 2, "bilinear"), (2, 4, 5, 5)),
    "RNN": ((4, 3), (5, 2, 4)),
    "LSTM": ((4, 3), (5, 2, 4)),
    "GRU": ((4, 3), (5, 2, 4)),
}


def passes(name, dtype, where):
    """Output and the input's gradient."""
    arguments, shape = LAYERS[name]
    rng = np.random.default_rng(0)
    gpudl.manual_seed(0)
    layer = getattr(nn, name)(*arguments).to(where).to(dtype=dtype)
    x = gpudl.tensor(rng.standard_normal(shape), dtype=dtype, device=where, requires_grad=True)
    y = layer(x)
    y = y[0] if isinstance(y, tuple) else y
    assert y.dtype == x.dtype
    y.backward(gpudl.tensor(rng.standard_normal(y.shape), dtype=dtype, device=where))
    assert x.grad.dtype == x.dtype
    return [t.detach().to("cpu").float().numpy() for t in (y, x.grad)]


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, where):
    for got, want in zip(
        passes(name, "bfloat16", where), passes(name, "float32", where), strict=True
    ):
        # Inputs, weights, results and what backward saves are each rounded to 8 bits.
        np.testing.assert_allclose(got, want, rtol=2**-5, atol=2**-5 * np.abs(want).max())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rms_norm_adds_float32s_epsilon_by_default(dtype):
    """As in PyTorch; float16's own would shrink 0.001 to 0.03."""
    y = F.rms_norm(gpudl.full((4,), 1e-3, dtype=dtype), (4,))
    np.testing.assert_allclose(y.float().numpy(), 0.945, rtol=2**-7)
