"""Arrays, lists and tensors of PyTorch are refused by name, with what to do instead."""

import contextlib
import inspect

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.core.public import PUBLIC
from gpudl.nn import functional as F

X = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("layer", "where"),
    [
        (nn.Linear(3, 2), "linear"),
        (nn.ReLU(), "relu"),
        (nn.BatchNorm1d(3), "(BatchNorm1d|batch_norm)"),
        (nn.Dropout(), "dropout"),
        (nn.LSTM(3, 2), "LSTM"),
        (nn.Sequential(nn.Linear(3, 2), nn.ReLU()), "linear"),
        (nn.Softmax(1), "softmax"),
        (nn.Embedding(3, 2), "embedding"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
@pytest.mark.parametrize(
    ("given", "what"),
    [(X, r"a NumPy array; wrap it with gpudl\.from_numpy"), ([[1.0]], r"list; .* gpudl\.tensor")],
    ids=["array", "list"],
)
def test_a_layer_says_what_it_was_given_and_how_to_convert_it(layer, where, given, what):
    with pytest.raises(TypeError, match=rf"^{where}: input is .*{what}"):
        layer(given)


@pytest.mark.parametrize(
    ("loss", "target"),
    [(nn.CrossEntropyLoss(), np.array([0, 1])), (nn.MSELoss(), X), (nn.NLLLoss(), [0, 1])],
)
def test_a_loss_names_the_argument(loss, target):
    with pytest.raises(TypeError, match=r": target is .*gpudl\.(from_numpy|tensor)"):
        loss(gpudl.ones(2, 3), target)


def test_a_tensor_of_pytorch_is_recognised():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"^relu: input is a tensor of PyTorch; .*from_numpy"):
        F.relu(torch.ones(2))
    with pytest.raises(TypeError, match=r"^stack: tensors is a tensor of PyTorch"):
        gpudl.stack([torch.ones(2), torch.ones(2)])


def first_tensors():
    """The functions whose first argument is a tensor and the only one that they need."""
    for entry in PUBLIC:
        function = entry.function
        first, *others = [*inspect.signature(function).parameters.values()] or [None]
        if first is not None and first.annotation == "Tensor" and set(entry.places) - {"Tensor"}:
            required = [p for p in others if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
            if not required:
                yield function


@pytest.mark.parametrize("function", list(first_tensors()), ids=lambda f: f.__name__)
def test_no_function_answers_a_list_with_an_attribute_error(function):
    given = [[1.0, 2.0]]
    result = None
    with contextlib.suppress(TypeError, ValueError):
        result = function(given)
    assert result is None or result is given  # as dropout without training


def test_errors_about_the_arguments_themselves_stay():
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        F.relu(X, nonsense=1)
    with pytest.raises(
        TypeError, match=r"^linear: weight is float32, but x is float64; .*x with \.fl"
    ):
        nn.Linear(3, 2)(gpudl.from_numpy(X.astype(np.float64)))
    with pytest.raises(ValueError, match=r"\(32,\), but x \(32, 1\); .*use x.squeeze\(1\)"):
        F.mse_loss(gpudl.ones(32, 1), gpudl.ones(32))


def test_what_to_pass_to_save_and_load_state_dict(tmp_path):
    net = nn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"save: .* Linear; pass its state_dict\(\)"):
        gpudl.save(net, tmp_path / "a")
    with pytest.raises(TypeError, match=r"save: .* Tensor; pass a dictionary"):
        gpudl.save(gpudl.ones(2), tmp_path / "a")
    with pytest.raises(KeyError, match="state_dict is empty, but Linear has 2 tensors"):
        net.load_state_dict({})
    with pytest.raises(TypeError, match="load_state_dict: state_dict is of type str"):
        net.load_state_dict("weights.safetensors")
    assert nn.ReLU().load_state_dict({}).missing_keys == []
