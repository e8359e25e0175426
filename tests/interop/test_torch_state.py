"""PyTorch's weight files: the values are read, and nothing in them is ever executed."""

import os
import pickle
import struct
import time
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict, deque
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpudl
from gpudl import nn
from gpudl.interop import load_torch_state

FORMATS = ("zip", "before 1.6")
TENSOR = "torch._utils\n_rebuild_tensor_v2"


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(params=FORMATS)
def save(request, torch, tmp_path):
    """Saves a value with PyTorch, in either format."""

    def write(value, **options):
        path = tmp_path / "weights.pth"
        zipped = request.param == "zip"
        torch.save(value, path, _use_new_zipfile_serialization=zipped, **options)
        return path

    return write


def values(torch):
    torch.manual_seed(0)
    x = torch.randn(3, 4)
    return OrderedDict(
        weight=x,
        transposed=x.T,
        every_second=x[::2, 1::2],
        one_row=x[1],
        expanded=torch.ones(1).expand(5),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(7),
        parameter=torch.nn.Parameter(x + 1),
        permuted=torch.randn(2, 3, 4).permute(2, 0, 1),
        **{
            f"is_{kind}".replace("torch.", ""): torch.tensor([0, 1, 2]).to(kind)
            for kind in (
                torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int16, torch.int8,
                torch.uint8, torch.bool, torch.complex64,
            )
        },
    )  # fmt: skip


def test_reads_all_kinds_of_tensors(torch, save):
    saved = values(torch)
    loaded = load_torch_state(save(saved))
    assert list(loaded) == list(saved)
    for name, x in saved.items():
        x = x.detach()
        assert loaded[name].shape == tuple(x.shape)
        assert str(x.dtype) == f"torch.{loaded[name].dtype.name}"
        theirs = x.float() if x.dtype == torch.bfloat16 else x
        np.testing.assert_array_equal(loaded[name].astype(theirs.numpy().dtype), theirs.numpy())
        assert loaded[name].flags.c_contiguous
        assert loaded[name].flags.writeable


def test_tensors_that_share_a_storage_become_separate_arrays(torch, save):
    x = torch.arange(6.0)
    loaded = load_torch_state(save({"all": x, "again": x, "end": x[3:]}))
    loaded["all"][:] = 0
    np.testing.assert_array_equal(loaded["again"], np.arange(6))
    np.testing.assert_array_equal(loaded["end"], [3, 4, 5])


def test_a_module_loads_weights_saved_by_pytorch(torch, save):
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.BatchNorm1d(4))
    ours = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.BatchNorm1d(4))
    ours.load_state_dict(load_torch_state(save(theirs.state_dict())))
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    expected = theirs.eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours.eval()(gpudl.tensor(x)).detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_is_read(torch, save, protocol):
    path = save({"x": torch.arange(3.0)}, pickle_protocol=protocol)
    np.testing.assert_array_equal(load_torch_state(path)["x"], [0, 1, 2])


def test_weights_inside_a_checkpoint(torch, save):
    net, average = {"module.x": torch.ones(2)}, {"x": torch.zeros(2)}
    steps = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    path = save({"epoch": 3, "state_dict": net, "optimizer": steps, "best": 91.7})
    np.testing.assert_array_equal(load_torch_state(path)["x"], [1, 1])
    path = save({"state_dict": net, "average": average})
    with pytest.raises(ValueError, match="give one of 'state_dict', 'average' as key"):
        load_torch_state(path)
    np.testing.assert_array_equal(load_torch_state(path, key="average")["x"], [0, 0])
    with pytest.raises(ValueError, match="no entry 'other', but 'state_dict', 'average'"):
        load_torch_state(path, key="other")


def test_safetensors(tmp_path):
    path = tmp_path / "w.safetensors"
    gpudl.save({"x": gpudl.tensor([1.0, 2.0])}, path)
    np.testing.assert_array_equal(load_torch_state(path)["x"], [1, 2])
    with pytest.raises(ValueError, match="no entry 'model'"):
        load_torch_state(path, key="model")
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_torch_state(path)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        load_torch_state(tmp_path / "none.pth")


def test_other_values_may_be_saved_beside_the_weights(torch, save):
    counts = Counter({3: 1, 7: 1})
    beside = {
        "milestones": counts, "classes": {"cat", "dog"}, "frozen": frozenset([1]), "b": b"x" * 300,
        "where": torch.device("cpu"), "best": np.float64(0.5), "args": Namespace(lr=0.1),
        "sizes": {(3, 4): 1, 0.5: 2, None: 3}, "queue": deque([1]), "path": PurePosixPath("a"),
    }  # fmt: skip
    loaded = load_torch_state(save({"state_dict": {"x": torch.ones(2)}, **beside}))
    np.testing.assert_array_equal(loaded["x"], [1, 1])


def test_negated_and_conjugated_views(torch, save):
    z, x = torch.tensor([1 + 2j, 3 - 4j]), torch.tensor([1.0, -2.0])
    loaded = load_torch_state(save({"conjugate": z.conj(), "negative": torch._neg_view(x)}))
    np.testing.assert_array_equal(loaded["conjugate"], [1 - 2j, 3 + 4j])
    np.testing.assert_array_equal(loaded["negative"], [-1, 2])


def test_tensors_with_attributes_and_parameters_with_state(torch, save):
    tensor, parameter = torch.ones(2), torch.nn.Parameter(torch.ones(3))
    tensor.note, parameter.note = "mine", "too"
    loaded = load_torch_state(save({"a": tensor, "b": parameter, "c": torch.nn.Buffer(tensor)}))
    assert [array.shape for array in loaded.values()] == [(2,), (3,), (2,)]


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_compiled_and_parallel_modules_are_removed(torch, save, prefix):
    path = save({f"{prefix}fc.weight": torch.ones(1), f"{prefix}fc.bias": torch.ones(1)})
    assert list(load_torch_state(path)) == ["fc.weight", "fc.bias"]


def test_submodules_that_were_compiled(torch, save):
    path = save({"body._orig_mod.weight": torch.ones(1), "head.bias": torch.ones(1)})
    assert list(load_torch_state(path)) == ["body.weight", "head.bias"]


class Attack:
    def __reduce__(self):
        return os.mkdir, ("ATTACKED",)


def test_a_pickle_that_runs_code_is_refused_by_name(torch, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"weights.pth holds 'y', which is a call of posix\.mkdir"):
        load_torch_state(save({"x": torch.ones(1), "y": Attack()}))
    assert not (tmp_path / "ATTACKED").exists()


def test_whole_models_are_refused_by_name(torch, save):
    with pytest.raises(ValueError, match=r"a call of torch\.nn\.modules\.linear\.Linear"):
        load_torch_state(save(torch.nn.Linear(2, 2)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2], "no dictionary of tensors"),
        ({"x": 3}, "'x', which is not a tensor"),
        ({3: 4}, "no dictionary of tensors"),
    ],
)
def test_refuses_values_without_weights(save, value, words):
    with pytest.raises(ValueError, match=words):
        load_torch_state(save(value))


def archive(path, content, entries):
    """A zip file in PyTorch's format, with any pickle in it."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", content)
        for name, numbers in entries.items():
            file.writestr(f"net/{name}", numbers)
    return path


def one_tensor(offset=0, size=(3,), stride=(1,), count=3, kind="torch\nFloatStorage"):
    """The pickle of {"x": a tensor}, written by hand."""
    numbers = [pickle.dumps(n, protocol=2)[2:-1] for n in (offset, size, stride)]
    storage = b"((X\7\0\0\0storagec%s\nX\1\0\0\0" % kind.encode() + b"0X\3\0\0\0cpu"
    storage += pickle.dumps(count, protocol=2)[2:-1] + b"tQ"
    start = b"\x80\x02}X\1\0\0\0xc" + TENSOR.encode() + b"\n"
    return start + storage + b"".join(numbers) + b"\x89NtRs."


NUMBERS = {"data/0": np.arange(3, dtype="<f4").tobytes()}


def test_the_hand_written_file_is_valid(tmp_path):
    loaded = load_torch_state(archive(tmp_path / "w.pth", one_tensor(), NUMBERS))
    np.testing.assert_array_equal(loaded["x"], [0, 1, 2])


def test_the_other_byte_order(tmp_path):
    big = {"data/0": np.arange(3, dtype=">f4").tobytes(), "byteorder": b"big"}
    loaded = load_torch_state(archive(tmp_path / "w.pth", one_tensor(), big))
    np.testing.assert_array_equal(loaded["x"], [0, 1, 2])


BEYOND = "the tensor 'x', which extends beyond its storage"
FORM = "the tensor 'x' in an unknown form"
HOSTILE = {
    "offset too large": (one_tensor(offset=1), BEYOND),
    "stride too large": (one_tensor(stride=(2,)), BEYOND),
    "size too large": (one_tensor(size=(4,)), BEYOND),
    "negative offset": (one_tensor(offset=-1), FORM),
    "negative stride": (one_tensor(stride=(-1,)), FORM),
    "negative size": (one_tensor(size=(-1,)), FORM),
    "more strides": (one_tensor(stride=(1, 1)), FORM),
    "size of texts": (one_tensor(size=("3",)), FORM),
    "bool as size": (one_tensor(size=(True,)), FORM),
    "all memory": (one_tensor(size=(1 << 33,), stride=(0,)), "would take 34,359,738,368 bytes"),
    "too many axes": (one_tensor(size=(1,) * 40, stride=(1,) * 40), FORM),
    "huge and empty": (one_tensor(size=(0, 1 << 39, 1 << 39), stride=(0, 0, 0)), "of shape"),
    "count too large": (one_tensor(count=4), "a storage '0' with too few elements"),
    "negative count": (one_tensor(count=-3), BEYOND),
    "another type": (one_tensor(kind="torch\nQInt8Storage"), "a storage of unknown type"),
    "no storage": (one_tensor(kind="torch\nfloat32"), "a storage of unknown type"),
    "call of type": (b"\x80\x02}X\1\0\0\0xctorch\nFloatStorage\n)Rs.", "a call of torch.Float"),
    "no arguments": (b"\x80\x02}X\1\0\0\0xc" + TENSOR.encode() + b"\n)Rs.", FORM),
    "object": (b"\x80\x02cbuiltins\nobject\n)\x81.", "a call of builtins.object"),
    "new object of a number": (b"\x80\x02K\1)\x81.", "wrong operands"),
    "extension": (b"\x80\x02\x82\1.", "the instruction EXT1"),
    "dots": (b"\x80\4X\2\0\0\0osX\6\0\0\0system\x93)R.", "a call of os.system"),
    "own list": (b"\x80\x02]q\0h\0a.", "no dictionary of tensors"),
    "list as key": (b"\x80\x02}]K\1s.", "keys are not strings"),
    "nothing": (b"", "damaged bytes"),
    "cut": (one_tensor()[:-20], "damaged bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_refuses(case, tmp_path):
    content, words = HOSTILE[case]
    with pytest.raises(ValueError, match=r"w\.pth holds ") as refused:
        load_torch_state(archive(tmp_path / "w.pth", content, NUMBERS))
    assert words in str(refused.value)


DEEP = b"(" * 200_000 + b"t" * 200_000
DOUBLED = b"K\1" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(100))  # a pair of pairs of …


@pytest.mark.parametrize("nested", [DEEP, DOUBLED], ids=["deep", "doubled"])
@pytest.mark.parametrize("place", ["value", "key", "beside", "name"])
def test_nested_values_are_refused_quickly(tmp_path, nested, place):
    content = {
        "value": b"\x80\x02" + nested + b".",
        "key": b"\x80\x02}" + nested + b"K\1s.",
        "beside": b"\x80\x02}X\1\0\0\0x" + nested + b"s.",
        "name": b"\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\n" + nested + b"K\1K\1tQ.",
    }[place]
    start = time.process_time()
    with pytest.raises(ValueError, match=r"w\.pth holds ") as refused:
        load_torch_state(archive(tmp_path / "w.pth", content, NUMBERS))
    assert len(str(refused.value)) < 1000
    assert time.process_time() - start < 5


def test_a_zip_of_a_later_version_is_refused(tmp_path):
    path = archive(tmp_path / "w.pth", one_tensor(), NUMBERS)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 6] = 99  # the version needed to read the first entry
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.pth holds a damaged archive"):
        load_torch_state(path)


def test_compressed_and_missing_entries_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    with pytest.raises(ValueError, match="a damaged entry data/0"):
        load_torch_state(archive(path, one_tensor(), {}))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("net/data.pkl", one_tensor())
        file.writestr("net/data/0", bytes(12))
    with pytest.raises(ValueError, match="a compressed entry"):
        load_torch_state(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "text")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        load_torch_state(path)


def test_a_flipped_bit_is_detected(torch, tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"x": torch.arange(100.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<2f", 50, 51))] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a damaged entry data/0"):
        load_torch_state(path)


def test_every_truncation_is_refused(torch, save):
    path = save({"x": torch.arange(3.0), "y": torch.zeros(2)})
    content = path.read_bytes()
    for length in range(1, len(content), 3):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"weights\.pth"):
            load_torch_state(path)


@settings(max_examples=150, deadline=None)
@given(change=st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=4)))
def test_any_bytes_give_arrays_or_a_value_error(tmp_path_factory, change):
    good, path = one_tensor(), tmp_path_factory.mktemp("fuzz") / "w.pth"
    place = change[0] % len(good)
    content = good[:place] + change[1] + good[place + len(change[1]) :]
    try:
        loaded = load_torch_state(archive(path, content, NUMBERS))
    except ValueError:
        loaded = {}
    assert all(isinstance(array, np.ndarray) for array in loaded.values())


def test_parts_of_names_are_renamed(save, torch):
    file = save({f"module.{name}": torch.ones(2) for name in ("fc.weight", "a.fc.0.w", "fc1.w")})
    names = list(load_torch_state(file, rename={"fc": "linear"}))
    assert names == ["linear.weight", "a.linear.0.w", "fc1.w"]
    with pytest.raises(
        ValueError, match=r"rename=\{'fc': 'fc1', 'weight': 'w'\} gives two tensors"
    ):
        load_torch_state(file, rename={"fc": "fc1", "weight": "w"})


@pytest.mark.parametrize("place", [b"PK\1\2", b"PK\3\4"], ids=["directory", "entry"])
def test_names_that_are_not_utf_8(tmp_path, place):
    path = archive(tmp_path / "w.pth", one_tensor(), NUMBERS)
    content = bytearray(path.read_bytes())
    start = content.index(place)
    flags, name = (8, 46) if place == b"PK\1\2" else (6, 30)
    content[start + flags + 1] |= 8  # the name is UTF-8
    content[start + name] = 0x80
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.pth holds a damaged (archive|entry)"):
        load_torch_state(path)
