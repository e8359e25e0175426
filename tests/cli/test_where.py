"""gpudl where: the way from a name to its kernels."""

import re
import sys
from pathlib import Path

import pytest

from gpudl.cli import where
from gpudl.core.op import OPS
from gpudl.devices import modules

ROOT = Path(__file__).resolve().parents[2]
needs_emulator = pytest.mark.skipif(
    modules.why_missing("emulator") is not None, reason="the emulator is not built"
)


@pytest.fixture
def rows(gpudl, monkeypatch):
    """What the command prints in the root of the repository: (name, file, the line of that file)
    by kind."""

    def run(name: str) -> dict[str, list[tuple[str, str, str]]]:
        monkeypatch.chdir(ROOT)
        result = gpudl("where", name)
        assert result.code == 0, result.err
        found, kind = {}, ""
        for line in result.out.splitlines():
            kind = line[:8].strip() or kind
            name, _, place = line[10:].rpartition("  ")
            file, _, number = place.rpartition(":")
            text = (ROOT / file).read_text(encoding="utf-8").splitlines()[int(number) - 1]
            found.setdefault(kind, []).append((name.strip(), file, text.strip()))
        return found

    return run


@needs_emulator
def test_conv2d_from_layer_to_launchers(rows):
    found = rows("conv2d")
    assert found["layer"] == [("nn.Conv2d", "gpudl/nn/conv.py", "class Conv2d(_Convolution):")]
    assert found["function"] == [("conv2d", "gpudl/ops/conv/conv.py", "def conv2d(")]
    assert [name for name, _, _ in found["operator"]] == ["Conv2dOp"]
    assert [name for name, _, _ in found["NumPy"]] == ["forward_im2col", "backward_im2col"]
    assert found["NumPy"][0][2].startswith("def forward_im2col(")
    kernels = {name: text for name, _, text in found["kernel"]}
    algorithms = OPS["conv2d"].kernels
    assert set(kernels) == {f"{d} {a}" for d in ("forward", "backward") for a in algorithms}
    for name, text in kernels.items():
        assert {"conv2d", name.split()[1]} <= set(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("name", "layer", "function", "operator"),
    [
        ("nn.Conv2d", "nn.Conv2d", "conv2d", "Conv2dOp"),
        ("torch.nn.functional.max_pool2d", "nn.MaxPool2d", "max_pool2d", "MaxPoolOp"),
        ("F.relu6", "nn.ReLU6", "relu6", "HardtanhOp"),
        ("cross_entropy", "nn.CrossEntropyLoss", "cross_entropy", "CrossEntropyOp"),
        ("BatchNorm2d", "nn.BatchNorm2d", "batch_norm", "BatchNormOp"),
        ("BCELoss", "nn.BCELoss", "binary_cross_entropy", "BinaryCrossEntropyOp"),
        ("LstmSequenceOp", "nn.LSTM", "lstm_sequence", "LstmSequenceOp"),
    ],
)  # fmt: skip
def test_every_spelling_finds_layer_function_and_operator(rows, name, layer, function, operator):
    found = rows(name)
    assert found["layer"][0][0] == layer
    assert found["function"][0][0] == function
    assert found["operator"][0][0] == operator


def test_optimizers_and_their_operators(rows):
    for name in ("adam", "optim.Adam", "torch.optim.Adam(lr=1)"):
        found = rows(name)
        assert found["class"][0][:2] == ("optim.Adam", "gpudl/optim/adam.py")
        assert found["operator"][0][2].startswith("class AdamOp(")


def test_a_full_name_finds_one_function_and_the_last_word_all(rows):
    assert [file for _, file, _ in rows("data.load")["function"]] == ["gpudl/data/registry.py"]
    assert len(rows("load")["function"]) == 2
    assert rows("Loader").keys() == {"class"}
    assert rows("models.resnet18")["model"][0][2] == "def resnet18("


def test_every_public_name_and_operator_is_found():
    names = {*where.public_functions(), *where.public_classes(), *OPS}
    assert len(names) > 500
    for name in names:
        found = where.find(name)
        places = [row.place for row in where.definitions(found)]
        assert all(re.search(r"gpudl/.*\.py:\d+$", place) for place in places), name
        assert places or found.operators == [OPS[name]], name


def test_without_a_module_csrc_is_searched(gpudl, monkeypatch):
    monkeypatch.setattr(modules, "why_missing", lambda name: f"gpudl._{name} is not there")
    result = gpudl("where", "conv2d")
    for algorithm in OPS["conv2d"].kernels:
        assert re.search(rf"  {algorithm} +\S*csrc/ops/conv/\w+\.cu:\d+$", result.out, re.MULTILINE)
    assert "forward flat " in gpudl("where", "adam").out


def test_without_a_module_and_csrc_it_says_so(gpudl, monkeypatch, tmp_path):
    monkeypatch.setattr(modules, "why_missing", lambda name: f"gpudl._{name} is not there")
    monkeypatch.setattr(where, "ROOT", tmp_path)
    last = gpudl("where", "conv2d").out.splitlines()[-1]
    assert last == "kernels   launchers are known once the emulator or CUDA module is built"


@needs_emulator
def test_an_installation_names_the_files_of_the_repository(gpudl, monkeypatch, tmp_path):
    monkeypatch.setattr(where, "ROOT", tmp_path)
    assert re.search(r"  csrc/ops/conv/\w+\.cu:\d+$", gpudl("where", "conv2d").out)


def test_bfloat16_need_not_be_installed(gpudl, monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    where.public_classes.cache_clear()
    assert "Conv2dOp" in gpudl("where", "conv2d").out
    where.public_classes.cache_clear()
