"""Modules: parameters, state, modes and containers behave as in PyTorch."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn
from gpudl.nn import init


def ones(*shape):
    return gpudl.tensor(np.ones(shape, np.float32))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight


def test_state_has_pytorchs_names_and_layouts():
    state = models.lenet5().state_dict()
    assert {name: tuple(t.shape) for name, t in state.items()} == {
        "features.0.weight": (6, 1, 5, 5),
        "features.0.bias": (6,),
        "features.3.weight": (16, 6, 5, 5),
        "features.3.bias": (16,),
        "classifier.1.weight": (120, 400),
        "classifier.1.bias": (120,),
        "classifier.3.weight": (84, 120),
        "classifier.3.bias": (84,),
        "classifier.5.weight": (10, 84),
        "classifier.5.bias": (10,),
    }


def test_state_goes_to_pytorch_and_back():
    torch = pytest.importorskip("torch")
    ours = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Flatten()
    )
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((4, 2, 6, 5)).astype(np.float32)
    for _ in range(2):  # in training, so the running statistics move
        y, z = ours(gpudl.tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-4, atol=1e-5)
    result = ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    assert result == ([], [])
    assert int(ours[1].num_batches_tracked.item()) == 2
    ours.eval()
    theirs.eval()
    y, z = ours(gpudl.tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_loading_checks_everything_before_it_changes_anything():
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    wrong = {k: np.ones(v.shape, np.float32) for k, v in before.items()}
    wrong["1.bias"] = np.ones(5, np.float32)
    with pytest.raises(ValueError, match=r"1\.bias has shape \(5,\); it must have \(2,\)"):
        net.load_state_dict(wrong)
    with pytest.raises(KeyError, match=r"0\.weight"):
        net.load_state_dict({"0.weigth": wrong["0.weight"]})
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_a_tied_parameter_is_listed_once_and_collects_both_gradients():
    net = Tied()
    names = [name for name, _ in net.named_parameters()]
    assert names == ["first.weight", "first.bias", "second.bias"]
    assert "second.weight" in net.state_dict()
    net.load_state_dict({k: np.eye(*v.shape) if v.ndim == 2 else np.zeros(v.shape)
                         for k, v in net.state_dict().items()})  # fmt: skip
    net.second(net.first(ones(1, 4))).sum().backward()
    # y = W·W·x at W = 1, x = 1: each use of W contributes 1 to each entry
    np.testing.assert_allclose(net.first.weight.grad.numpy(), np.full((4, 4), 2.0))


def test_modes_reach_every_module_and_switch_dropout():
    net = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    np.testing.assert_array_equal(net.eval()(ones(100, 10)).numpy(), 1)
    assert set(np.unique(net.train()(ones(100, 10)).numpy())) == {0.0, 4.0}


def test_invalid_arguments_are_refused():
    net = nn.BatchNorm1d(3)
    with pytest.raises(TypeError, match=r"BatchNorm1d\.weight: must be a Parameter"):
        net.weight = np.ones(3)
    with pytest.raises(ValueError, match="input has 4 axes; it must have 2 or 3"):
        net(ones(1, 3, 2, 2))
    with pytest.raises(ValueError, match="groups=2 must divide in_channels=3"):
        nn.Conv2d(3, 4, 1, groups=2)
    with pytest.raises(TypeError, match="entry 0 must be a Module, got int"):
        nn.Sequential(3)

    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match="call super"):
        Forgetful()


def test_containers():
    layers = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])
    layers.append(nn.Linear(2, 1))
    assert len(layers) == 3
    assert isinstance(layers[1], nn.ReLU)
    assert len(layers[:2]) == 2
    assert len(list(layers.parameters())) == 4
    named = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    assert list(named) == ["a", "b"]
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert isinstance(net[-1], nn.ReLU)
    assert len(net[:1]) == 1


def test_hooks_run_and_can_be_removed():
    net, seen = nn.Linear(2, 2), []
    remove = net.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    net(ones(3, 2))
    remove()
    net(ones(3, 2))
    assert seen == [(3, 2)]


def test_apply_visits_children_first():
    seen = []
    models.mlp(hidden=(4,)).apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Flatten", "Linear", "ReLU", "Linear", "Sequential", "MLP"]


def test_summary_of_lenet_counts_parameters_and_multiply_adds():
    net = models.lenet5()
    table = nn.summary(net, (1, 1, 28, 28))
    assert table.parameters == 61706
    # a convolution: outputs × window; a linear layer: inputs × outputs
    convolutions = 6 * 28 * 28 * 25 + 16 * 10 * 10 * 150
    assert table.multiply_adds == convolutions + 400 * 120 + 120 * 84 + 84 * 10
    assert "1×16×10×10" in str(table)
    assert "61,706 parameters" in str(table)
    assert net.training
    assert net.features[0].weight.device.name == "cpu"


def test_repr_reads_like_pytorchs():
    assert repr(nn.Conv2d(1, 6, 5, padding=2)) == (
        "Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))"
    )
    assert "(0): Linear(2, 3, bias=True)" in repr(nn.Sequential(nn.Linear(2, 3)))


FAN_IN, FAN_OUT = 32 * 9, 64 * 9


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("kaiming", (2 / FAN_IN) ** 0.5),
        ("xavier", (2 / (FAN_IN + FAN_OUT)) ** 0.5),
        ("lecun", (1 / FAN_IN) ** 0.5),
    ],
)
@pytest.mark.parametrize("kind", ["uniform_", "normal_"])
def test_initial_values_have_the_standard_deviation_of_their_paper(name, std, kind):
    gpudl.manual_seed(0)
    w = nn.Parameter(np.zeros((64, 32, 3, 3), np.float32))
    getattr(init, f"{name}_{kind}")(w)
    assert abs(w.detach().numpy().std() / std - 1) < 0.03
    assert abs(w.detach().numpy().mean()) < 0.03 * std * 3


def test_orthogonal_rows():
    w = init.orthogonal_(nn.Parameter(np.zeros((4, 2, 3), np.float32)), gain=2.0)
    flat = w.detach().numpy().reshape(4, 6)
    np.testing.assert_allclose(flat @ flat.T, 4 * np.eye(4), atol=1e-5)


def test_same_seed_same_weights():
    states = []
    for _ in range(2):
        gpudl.manual_seed(3)
        states.append(models.lenet5().state_dict())
    for name in states[0]:
        np.testing.assert_array_equal(states[0][name].numpy(), states[1][name].numpy())


def test_unknown_models_are_refused_with_the_nearest_name():
    with pytest.raises(KeyError, match="did you mean 'lenet5'"):
        models.create("lenet")


def test_losses_are_modules_too():
    logits = gpudl.tensor(np.zeros((4, 10), np.float32))
    target = gpudl.tensor(np.array([0, 3, 9, 1]))
    assert abs(nn.CrossEntropyLoss()(logits, target).item() - np.log(10)) < 1e-6
    assert abs(nn.CrossEntropyLoss(reduction="sum")(logits, target).item() - 4 * np.log(10)) < 1e-5
    assert nn.MSELoss()(ones(3), ones(3) * 3).item() == 4


def test_conversion_keeps_gradients_and_copies_nothing_if_nothing_changes():
    net = nn.Linear(2, 1)
    net(ones(1, 2)).sum().backward()
    data = net.weight.array
    assert net.float().weight.array is data
    assert net.weight.grad is not None
    net.to(dtype=gpudl.float64, device="cpu")
    assert net.weight.grad.dtype == net.weight.dtype == np.float64
    assert net.weight.grad.tolist() == [[1, 1]]


def test_bfloat16_parameters_become_float32_again():
    pytest.importorskip("ml_dtypes")
    net = nn.Linear(2, 1).to(gpudl.bfloat16)
    assert net.float().weight.dtype == np.float32


def test_a_device_is_a_name():
    with pytest.raises(TypeError, match=r"device: expected a name.*got int"):
        nn.Linear(1, 1).to(3)


def test_a_device_context_creates_tensors_and_layers_there():
    before = gpudl.core.random.get_rng_state()
    with gpudl.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.Linear(9, 9999))
        init.orthogonal_(net[3].weight)
        with gpudl.device("cpu"):
            inner = gpudl.zeros(2)
    assert {tensor.device.name for tensor in net.state_dict().values()} == {"meta"}
    assert net[3].weight.requires_grad
    assert inner.device == gpudl.zeros(2).device == "cpu"
    np.testing.assert_equal(gpudl.core.random.get_rng_state(), before)  # nothing was drawn


def test_a_submodule_may_override_train():
    class Frozen(nn.BatchNorm1d):
        def train(self, mode=True):
            return super().train(False)

    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Frozen(2)), nn.Dropout())
    net.train()
    assert [m.training for m in (net, net[0], net[1], net[1][0], net[2])] == [1, 1, 1, 0, 1]
    net.eval()
    assert not any(m.training for m in net.modules())
