"""Edge cases where engines tend to differ silently: NaN, zeros, scalars, empty inputs, old
arguments. Each program must give PyTorch's result, or both must refuse it."""

import warnings

import numpy as np
import pytest

import gpudl

NAN, INF = float("nan"), float("inf")


def gradients(function, *values):
    """A program: the result of `function(library, F, *leaves)` and the leaves' gradients."""

    def program(lib, F):
        leaves = [lib.tensor(v, requires_grad=True) for v in values]
        result = function(lib, F, *leaves)
        result.sum().backward()
        return result.detach(), *(leaf.grad for leaf in leaves)

    return program


X, Y = [1.0, NAN, 3.0, 2.0], [NAN, 1.0, 3.0, 5.0]
LOW, HIGH = [0.0, NAN, 0.0, 2.0, 4.0], [2.0, 2.0, 3.0, 2.0, 1.0]
PROGRAMS = {
    "max of NaN": gradients(lambda lib, F, x: x.max(), [1.0, NAN, 3.0]),
    "min of NaN": gradients(lambda lib, F, x: x.min(), [1.0, NAN, 3.0]),
    "max of ties": gradients(lambda lib, F, x: x.max(), [3.0, 3.0, 1.0]),
    "max along an axis": gradients(lambda lib, F, x: x.max(1)[0], [[1.0, NAN, 3.0], [2, 2, 1]]),
    "amax of NaN": gradients(lambda lib, F, x: x.amax(1), [[1.0, NAN, 3.0], [2, 2, 1]]),
    "maximum": gradients(lambda lib, F, x, y: lib.maximum(x, y), X, Y),
    "minimum": gradients(lambda lib, F, x, y: lib.minimum(x, y), X, Y),
    "clamp": gradients(lambda lib, F, x: x.clamp(0, 1), [NAN, -1.0, 0.0, 1.0, 0.5, 2.0]),
    "clamp by tensors": gradients(
        lambda lib, F, x, low, high: x.clamp(low, high), [NAN, 1.0, 5.0, 2.0, 3.0], LOW, HIGH
    ),
    "clamp from below": gradients(lambda lib, F, x, low: x.clamp(min=low), X, Y),
    "clamp from above": gradients(lambda lib, F, x, high: x.clamp(max=high), X, Y),
    "prod of NaN": gradients(lambda lib, F, x: x.prod(), [NAN, 2.0, 3.0]),
    "prod of NaN and 0": gradients(lambda lib, F, x: x.prod(), [NAN, 0.0, 3.0]),
    "prod of inf and 0": gradients(lambda lib, F, x: x.prod(), [INF, 0.0, 3.0]),
    "prod along an axis": gradients(lambda lib, F, x: x.prod(0), [[0.0, 2.0], [3.0, 0.0], [4, 0]]),
    "norm of 0": gradients(lambda lib, F, x: x.norm(), [0.0, 0.0]),
    "norm 0.5 at 0": gradients(lambda lib, F, x: x.norm(0.5), [0.0, 2.0, 3.0]),
    "norm of NaN": gradients(lambda lib, F, x: x.norm(), [0.0, NAN]),
    "norm inf of NaN": gradients(lambda lib, F, x: x.norm(INF), [0.0, NAN, 2.0]),
    "cosine_similarity of 0": gradients(
        lambda lib, F, x, y: F.cosine_similarity(x, y), [[0.0, 0.0]], [[1.0, 1.0]]
    ),
    "int // 0": lambda lib, F: lib.tensor([5, -7]) // 0,
    "int % 0": lambda lib, F: lib.tensor([5, -7]) % lib.tensor([1, 0]),
    "int fmod 0": lambda lib, F: lib.fmod(lib.tensor([5]), lib.tensor([0])),
    "int / 0": lambda lib, F: lib.tensor([5, -5, 0]) / 0,
    "float // 0": lambda lib, F: lib.tensor([5.0, -7.0, 0.0]) // lib.tensor([0.0, -0.0, 0.0]),
    "float % 0": lambda lib, F: lib.tensor([5.0, -7.0, 0.0]) % 0,
    "fmod": gradients(lambda lib, F, x, y: lib.fmod(x, y), [7.5, -7.5], [2.0, 2.0]),
    "embedding of floats": lambda lib, F: F.embedding(lib.tensor([1.5]), lib.ones(3, 2)),
    "bernoulli of 2": lambda lib, F: lib.bernoulli(lib.tensor([2.0])),
    "bernoulli of NaN": lambda lib, F: lib.bernoulli(lib.tensor([NAN])),
    "uint8 mask": lambda lib, F: lib.tensor([1.0, 2.0, 3.0])[
        lib.tensor([1, 0, 1], dtype=lib.uint8)
    ],
    "where of uint8": lambda lib, F: lib.where(
        lib.tensor([1, 0], dtype=lib.uint8), lib.tensor([1.0, 2.0]), lib.tensor([0.0, 0.0])
    ),
    "avg_pool2d with stride ()": lambda lib, F: F.avg_pool2d(lib.ones(1, 1, 4, 4), 2, ()),
    "batch_norm of one axis": lambda lib, F: F.batch_norm(lib.ones(3), lib.zeros(3), lib.ones(3)),
    "softmax of a scalar": gradients(lambda lib, F, x: F.softmax(x, 0), 2.0),
    "log_softmax of a scalar": gradients(lambda lib, F, x: F.log_softmax(x, -1), 2.0),
    "prelu with a scalar weight": gradients(lambda lib, F, x, w: F.prelu(x, w), [-2.0, 3.0], 0.5),
    "hardtanh with equal bounds": gradients(
        lambda lib, F, x: F.hardtanh(x, 1.0, 1.0), [-2.0, 1.0, 3.0]
    ),
    "hardtanh with crossed bounds": lambda lib, F: F.hardtanh(lib.ones(2), 1.0, 0.0),
    "unfold of nothing": lambda lib, F: F.unfold(lib.ones(0, 2, 4, 4), 2),
    "var with correction None": lambda lib, F: lib.var(lib.tensor([1.0, 2, 4]), correction=None),
    "std with correction None": lambda lib, F: lib.tensor([1.0, 2, 4]).std(0, correction=None),
    "cat with an empty vector": gradients(
        lambda lib, F, x: lib.cat([lib.tensor([]), x], 1), [[1.0, 2.0], [3.0, 4.0]]
    ),
    "cat of empty vectors": lambda lib, F: lib.cat([lib.tensor([]), lib.tensor([])]),
    "index_select of a scalar": lambda lib, F: lib.index_select(
        lib.tensor(3.0), 0, lib.tensor([0])
    ),
    "gather of a scalar": lambda lib, F: lib.gather(lib.tensor(3.0), 0, lib.tensor(0)),
    **{
        f"{name} of {shape} without dim": lambda lib, F, name=name, shape=shape: getattr(
            lib.nn, name
        )()(lib.arange(float(np.prod(shape))).reshape(shape))
        for name in ("Softmax", "LogSoftmax", "Softmin")
        for shape in ((3,), (2, 2), (2, 2, 2), (1, 2, 2, 2))
    },
}


def outcome(program, lib):
    """The resulting arrays, or the error that the program raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's deprecation warnings
        try:
            result = program(lib, lib.nn.functional)
        except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
            return error
    parts = result if isinstance(result, tuple) else (result,)
    return [np.asarray(part.detach().numpy()) for part in parts]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    theirs, ours = outcome(PROGRAMS[name], torch), outcome(PROGRAMS[name], gpudl)
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"PyTorch raises {theirs!r}; ours gave {ours}"
    else:
        assert not isinstance(ours, Exception), ours
        for a, b in zip(ours, theirs, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-6)
