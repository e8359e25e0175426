"""Tensors: creation, dtypes, NumPy, DLPack, repr, pickles, copies."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import gpudl
from gpudl.core import dtypes
from gpudl.devices.find import why_missing

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool")


@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES, repeat=2)))
def test_promotion_agrees_with_pytorch(a, b):
    torch = pytest.importorskip("torch")
    for shapes in [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())]:
        ours = [gpudl.tensor(np.ones(s)).to(d) for s, d in zip(shapes, (a, b), strict=True)]
        theirs = [
            torch.ones(s, dtype=getattr(torch, d)) for s, d in zip(shapes, (a, b), strict=True)
        ]
        for function in ("mul", "div", "eq", "maximum"):
            actual = getattr(gpudl, function)(*ours).dtype
            expected = getattr(torch, function)(*theirs).dtype
            assert actual.name == str(expected).removeprefix("torch."), (function, a, b, shapes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [True, 2, 0.5])
@pytest.mark.parametrize("shape", [(2,), ()])
def test_python_numbers_are_weak(dtype, number, shape):
    torch = pytest.importorskip("torch")
    ours = gpudl.tensor(np.ones(shape)).to(dtype)
    theirs = torch.ones(shape, dtype=getattr(torch, dtype))
    for function in ("add", "div", "pow", "lt"):
        if function == "pow" and dtype == "bool" and number is True:
            continue
        actual = getattr(gpudl, function)(ours, number).dtype
        expected = getattr(torch, function)(theirs, number).dtype
        assert actual.name == str(expected).removeprefix("torch."), function


def test_operators_have_reflected_forms():
    x = gpudl.tensor([2.0, 4.0])
    assert (1 + x).tolist() == [3, 5]
    assert (1 - x).tolist() == [-1, -3]
    assert (3 * x).tolist() == [6, 12]
    assert (8 / x).tolist() == [4, 2]
    assert (9 // x).tolist() == [4, 2]
    assert (9 % x).tolist() == [1, 1]
    assert (2**x).tolist() == [4, 16]
    assert (-x).tolist() == [-2, -4]
    assert abs(-x).tolist() == [2, 4]
    assert (x < 3).tolist() == [True, False]
    assert (np.array([1.0, 1.0], np.float32) + x).tolist() == [3, 5]
    assert (np.float32(1) + x).dtype == np.float32
    assert (~(x > 3) | (x == 4)).all().item()
    assert x != None  # noqa: E711
    with pytest.raises(TypeError, match="operand is float32; it must be bool"):
        x & x
    with pytest.raises(TypeError, match="expected a tensor or a number, got str"):
        x + "1"


def test_dtypes_of_new_tensors():
    assert gpudl.tensor([1.0, 2.0]).dtype == np.float32
    assert gpudl.tensor([1, 2]).dtype == np.int64
    assert gpudl.tensor([True]).dtype == np.bool_
    assert gpudl.tensor(np.zeros(2)).dtype == np.float64
    assert gpudl.tensor([1, 2], dtype="float16").dtype == np.float16
    assert gpudl.tensor([1.5]).bfloat16().dtype == dtypes.dtype_of("bfloat16")
    for bad in ("complex64", "text", object):
        with pytest.raises(TypeError, match="dtype"):
            gpudl.tensor([1.0], dtype=bad)
    with pytest.raises(ValueError, match="ragged"):
        gpudl.tensor([[1.0], [2.0, 3.0]])


def test_numpy_shares_memory_and_tensor_copies():
    array = np.zeros(2, np.float32)
    shared, copied = gpudl.from_numpy(array), gpudl.tensor(array)
    array[0] = 5
    assert shared.tolist() == [5, 0]
    assert copied.tolist() == [0, 0]
    shared.numpy()[1] = 6
    assert array.tolist() == [5, 6]
    assert np.asarray(shared).base is None or np.shares_memory(np.asarray(shared), array)
    with pytest.raises(RuntimeError, match="detach"):
        gpudl.tensor([1.0], requires_grad=True).numpy()


def test_dlpack_in_and_out():
    array = np.arange(3, dtype=np.float32)
    assert np.shares_memory(np.from_dlpack(gpudl.from_numpy(array)), array)

    class Foreign:
        def __dlpack__(self, **arguments):
            return array.__dlpack__(**arguments)

        def __dlpack_device__(self):
            return array.__dlpack_device__()

    assert gpudl.Tensor(Foreign()).tolist() == [0, 1, 2]
    with pytest.raises(BufferError, match="detach"):
        gpudl.tensor([1.0], requires_grad=True).__dlpack__()


def test_dlpack_with_pytorch():
    torch = pytest.importorskip("torch")
    x = gpudl.tensor([1.0, 2.0])
    twin = torch.from_dlpack(x)
    twin[0] = 7
    assert x.tolist() == [7, 2]
    assert gpudl.Tensor(twin).tolist() == [7, 2]


def test_repr_is_readable():
    assert repr(gpudl.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(gpudl.tensor([1], dtype="int32")) == "tensor([1], dtype=int32)"
    x = gpudl.tensor(2.0, requires_grad=True)
    assert repr(x) == "tensor(2., requires_grad=True)"
    assert repr(x.exp()) == "tensor(7.3891, grad_fn=<exp>)"
    assert (f"{x:.3f}", f"{x}") == ("2.000", "2.0")
    assert f"{gpudl.tensor([2.0])}" == "tensor([2.])"
    assert "..." in repr(gpudl.tensor(np.zeros(5000)))


def test_pickles_are_refused_and_the_error_names_save():
    with pytest.raises(TypeError, match=r"gpudl\.save"):
        pickle.dumps(gpudl.tensor([1.0]))


def test_copies():
    x = gpudl.tensor([1.0], requires_grad=True)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y.grad.tolist() == [2]
    with gpudl.no_grad():
        y.add_(1)
    assert x.tolist() == [1]
    with pytest.raises(RuntimeError, match="only leaves"):
        copy.deepcopy(x * 2)
    assert copy.copy(x) is not x


def test_one_element_becomes_a_number():
    x = gpudl.tensor([3])
    assert (int(x), float(x), bool(x), x.item(), [10, 20, 30, 40][x]) == (3, 3.0, True, 3, 40)
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(gpudl.tensor([1, 2]))
    with pytest.raises(RuntimeError, match="2 elements"):
        gpudl.tensor([1, 2]).item()
    with pytest.raises(TypeError, match="has no axes"):
        len(gpudl.tensor(1))


def test_devices_do_not_mix():
    with pytest.raises(ValueError, match=r"add: y is on meta.*\.to\('cpu'\)"):
        gpudl.tensor([1.0]) + gpudl.tensor([1.0], device="meta")
    with pytest.raises(ValueError, match="no values to copy"):
        gpudl.tensor([1.0], device="meta").cpu()


def test_gradients_cross_devices():
    if why_missing("emulator"):
        pytest.skip(why_missing("emulator"))
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    y = x.to("emulator")
    assert y.device.name == "emulator"
    (y * 3).cpu().sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert x.grad.device.name == "cpu"


def test_shape_functions_compose():
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).standard_normal((2, 1, 3, 4)).astype("f")
    x, t = gpudl.tensor(array), torch.tensor(array)
    for f in [
        lambda a: a.flatten(1), lambda a: a.flatten(1, 2), lambda a: a.squeeze(), lambda a: a.mT,
        lambda a: a.squeeze(1).unsqueeze(-1), lambda a: a.unflatten(3, (2, -1)),
        lambda a: a.movedim(0, -1), lambda a: a.movedim((0, 1), (2, 0)),
        lambda a: a.transpose(1, -1),
        lambda a: a.repeat(2, 1, 2, 1), lambda a: a.repeat(3, 1, 1, 1, 2), lambda a: a.tile((2,)),
        lambda a: a.expand(2, 5, -1, -1), lambda a: a.flip(0, -1), lambda a: a.roll(3, -1),
        lambda a: a.chunk(3, -1)[1], lambda a: a.split([1, 3], 3)[1], lambda a: a.unbind(2)[1],
        lambda a: a.var(dim=3), lambda a: a.std(3, unbiased=False), lambda a: a.norm(dim=(1, 2)),
        lambda a: a.max(2).values, lambda a: a.min(2)[1], lambda a: a.topk(2)[0], lambda a: a.max(),
        lambda a: a.sort(2, descending=True).indices, lambda a: a.cumsum(3),
        lambda a: a.clamp(min=0),
        lambda a: a.masked_select(a > 0), lambda a: a.masked_fill(a > 0, 7.0),
        lambda a: (a > 0).nonzero(), lambda a: a.index_select(3, a[0, 0, 0].argsort()[:2]),
        lambda a: a.where(a > 0, -a), lambda a: a.div(2, rounding_mode="floor"),
        lambda a: a.reshape(-1).unsqueeze(0).contiguous(), lambda a: a.isnan().any(),
    ]:  # fmt: skip
        ours, theirs = f(x), f(t)
        assert ours.shape == tuple(theirs.shape)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_view_refuses_shapes_that_would_need_a_copy():
    x = gpudl.tensor(np.zeros((2, 3)))
    assert x.view(3, 2).view(-1).shape == (6,)
    with pytest.raises(RuntimeError, match="reshape"):
        x.T.view(6)


def test_one_hot():
    from gpudl.nn import functional as F

    assert F.one_hot(gpudl.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert gpudl.one_hot(gpudl.tensor(1), 3).tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="tensor holds classes 0 to 5; they must be from 0 to 2"):
        F.one_hot(gpudl.tensor([0, 5]), 3)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_counts_from_the_last_axis(mode):
    torch = pytest.importorskip("torch")
    from gpudl.nn import functional as F

    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("f")
    ours = F.pad(gpudl.tensor(array), (1, 2, 3, 0), mode)
    theirs = torch.nn.functional.pad(torch.tensor(array), (1, 2, 3, 0), mode)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_joining_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="cat: got no tensors"):
        gpudl.cat([])
    with pytest.raises(ValueError, match="stack: shapes are"):
        gpudl.stack([gpudl.tensor([1.0]), gpudl.tensor([1.0, 2.0])])
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    gpudl.stack([x, 2 * x], 1).sum().backward()
    assert x.grad.tolist() == [3, 3]
    a, b = x.split(1)
    (a * 5).sum().backward()  # b is unused
    assert x.grad.tolist() == [8, 3]
    assert b.shape == (1,)


def test_lazy_names():
    assert gpudl.float32 == np.float32
    assert gpudl.bfloat16 == dtypes.dtype_of("bfloat16")
    assert gpudl.nn.functional.relu is gpudl.relu
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gpudl.nothing  # noqa: B018


def test_numbers_outside_an_integer_type_wrap_around_as_in_pytorch():
    x = gpudl.tensor(np.array([1, 200], np.uint8))
    assert (x * -1).tolist() == [255, 56]
    assert (x + 300).tolist() == [45, 244]
    assert (x / -2).tolist() == [-0.5, -100]
    with pytest.raises(ValueError, match="exponent is -1; it must not be negative for uint8"):
        x**-1


def test_foreign_byte_order_is_converted():
    swapped = np.array([1.0, 2.5]).astype(np.dtype(np.float32).newbyteorder())
    assert gpudl.tensor(swapped).dtype.isnative
    assert gpudl.tensor(swapped).tolist() == [1, 2.5]
    with pytest.raises(TypeError, match="byte order"):
        gpudl.from_numpy(swapped)
    with pytest.raises(TypeError, match="not supported"):
        gpudl.from_numpy(np.array([None]))


def test_bounds_of_clamp_keep_their_kind():
    x = gpudl.tensor([-1, 3])
    assert [x.clamp(min=low).dtype.name for low in (0, 0.0, 0)] == ["int64", "float32", "int64"]


def test_the_class_as_in_pytorch():
    assert gpudl.Tensor([1, 2]).dtype == gpudl.Tensor(((1, 2), (3, 4))).dtype == np.float32
    assert gpudl.tensor([1, 2]).dtype == np.int64
    assert gpudl.Tensor([1, 2], dtype=np.int8).dtype == np.int8
    assert gpudl.Tensor().shape == gpudl.Tensor([]).shape == gpudl.nn.Parameter().shape == (0,)
    assert gpudl.Tensor(3).tolist() == [0, 0, 0]
    assert gpudl.Tensor(2, 3, device="meta").shape == (2, 3)
    for kept in (np.arange(3), gpudl.tensor([1, 2]), np.int64(3)):
        assert gpudl.Tensor(kept).dtype == np.int64
    assert gpudl.Tensor(np.float64(0.5)).item() == 0.5
    for wrong in (0.5, True):
        with pytest.raises(TypeError, match=rf"Tensor: {wrong} is no shape; .* gpudl.tensor\(\)"):
            gpudl.Tensor(wrong)
    with pytest.raises(TypeError, match="Tensor: pass dtype and device by name"):
        gpudl.Tensor([1, 2], np.float64)


def test_lists_beside_tensors_keep_their_integers():
    x = gpudl.tensor([[1, 2], [3, 4]])
    x[0] = [5, 6]
    assert x.tolist() == [[5, 6], [3, 4]]
    assert gpudl.as_tensor([1]).dtype == np.int64
