"""Schedules against torch.optim.lr_scheduler, resuming, our own formulas."""

import math

import numpy as np
import pytest

from gpudl import optim
from gpudl.autograd.tensor import Tensor
from gpudl.optim import lr_scheduler as ours


def optimizer_of(module, tensor):
    p, q = (tensor(np.zeros(2, np.float32)) for _ in range(2))
    return module.SGD([{"params": [p], "lr": 0.5}, {"params": [q]}], lr=0.1)


def make():
    return optimizer_of(optim, lambda a: Tensor(a, requires_grad=True))


def rates(optimizer, scheduler, steps):
    path = []
    for _ in range(steps):
        path.append([g["lr"] for g in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return path


SCHEDULES = {
    "step": lambda s, o: s.StepLR(o, 3, 0.5),
    "multistep": lambda s, o: s.MultiStepLR(o, [2, 5, 5], 0.1),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.9),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 7, 0.01),
    "linear": lambda s, o: s.LinearLR(o, 0.2, 0.9, 4),
    "lambda": lambda s, o: s.LambdaLR(o, [lambda t: 1 / (1 + t), lambda t: 0.5**t]),
    "sequential": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 4), s.CosineAnnealingLR(o, 10), s.StepLR(o, 2)], [4, 9]
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_as_pytorch(name):
    torch = pytest.importorskip("torch")
    a = make()
    b = optimizer_of(torch.optim, lambda x: torch.tensor(x, requires_grad=True))
    ours_path = rates(a, SCHEDULES[name](ours, a), 14)
    theirs = rates(b, SCHEDULES[name](torch.optim.lr_scheduler, b), 14)
    np.testing.assert_allclose(ours_path, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("second", ["exponential", "multistep", "cosine", "linear", "lambda"])
@pytest.mark.parametrize("first", ["step", "linear", "cosine", "lambda"])
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_chained_schedules_as_pytorch(first, second):
    torch = pytest.importorskip("torch")

    def path(module, optimizer):
        schedules = [SCHEDULES[name](module, optimizer) for name in (first, second)]
        rates = []
        for epoch in range(7):
            optimizer.step()
            for schedule in schedules:
                schedule.step()
            if epoch == 3:  # by hand, as ReduceLROnPlateau would
                optimizer.param_groups[0]["lr"] *= 0.5
            rates.append([g["lr"] for g in optimizer.param_groups])
        return rates

    theirs = optimizer_of(torch.optim, lambda x: torch.tensor(x, requires_grad=True))
    expected = path(torch.optim.lr_scheduler, theirs)
    np.testing.assert_allclose(path(ours, make()), expected, rtol=1e-12, atol=1e-15)


def test_a_plateau_reduction_survives_another_schedule():
    optimizer = make()
    step, plateau = ours.StepLR(optimizer, 2, 0.5), ours.ReduceLROnPlateau(optimizer, patience=0)
    seen = []
    for measure in (1, 2, 2, 2):
        step.step()
        plateau.step(measure)
        seen.append(optimizer.param_groups[1]["lr"])
    np.testing.assert_allclose(seen, [0.1, 0.005, 0.0005, 0.000025])


def test_a_group_added_later_is_scheduled_from_its_own_rate():
    optimizer = make()
    halved, single = (
        ours.ExponentialLR(optimizer, 0.5),
        ours.LambdaLR(optimizer, lambda t: 1 / (1 + t)),
    )
    halved.step()
    optimizer.add_param_group({"params": [Tensor(np.zeros(2), requires_grad=True)], "lr": 0.8})
    halved.step()
    assert optimizer.param_groups[2]["lr"] == pytest.approx(0.4)
    single.step()
    assert optimizer.param_groups[2]["lr"] == pytest.approx(0.4)
    listed = ours.LambdaLR(make(), [lambda t: 1.0] * 2)
    listed.optimizer.add_param_group({"params": [Tensor(np.zeros(2), requires_grad=True)]})
    with pytest.raises(ValueError, match="LambdaLR: 2 functions for 3 parameter groups; give one"):
        listed.step()


def test_a_nan_metric_gives_a_warning():
    optimizer = make()
    plateau = ours.ReduceLROnPlateau(optimizer, patience=0)
    with pytest.warns(UserWarning, match="the metric is NaN"):
        plateau.step(math.nan)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_a_state_saved_by_an_older_version():
    optimizer = make()
    schedule = ours.StepLR(optimizer, 2, 0.5)
    state = {"base_lrs": [0.5, 0.1], "last_epoch": 3, "step_size": 2, "gamma": 0.5}
    optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = 0.25, 0.05
    schedule.load_state_dict(state)
    schedule.step()
    assert schedule.get_last_lr() == [0.125, 0.025]


@pytest.mark.parametrize("name", SCHEDULES)
def test_resumes(name):
    whole = make()
    path = rates(whole, SCHEDULES[name](ours, whole), 14)
    first = make()
    scheduler = SCHEDULES[name](ours, first)
    rates(first, scheduler, 6)
    saved, options = scheduler.state_dict(), first.state_dict()
    second = make()
    again = SCHEDULES[name](ours, second)
    second.load_state_dict(options)
    again.load_state_dict(saved)
    assert rates(second, again, 8) == path[6:]


@pytest.mark.parametrize(
    "options",
    [
        {"factor": 0.5, "patience": 1},
        {"mode": "max", "factor": 0.5, "patience": 0, "threshold": 0.1, "threshold_mode": "abs"},
        {"factor": 0.1, "patience": 1, "cooldown": 2, "min_lr": [0.1, 0.001]},
    ],
)
def test_plateau_as_pytorch(options):
    torch = pytest.importorskip("torch")
    measures = [3, 2, 2, 2.5, 1.9999, 1.9, 1.9, 1.9, 1.9, 1.9, 1.8, 1.9, 1.9, 1.9]
    a = make()
    b = optimizer_of(torch.optim, lambda x: torch.tensor(x, requires_grad=True))
    mine = ours.ReduceLROnPlateau(a, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    for i, measure in enumerate(measures):
        if i == 7:
            saved, mine = mine.state_dict(), ours.ReduceLROnPlateau(a, **options)
            mine.load_state_dict(saved)
        mine.step(measure)
        theirs.step(measure)
        assert mine.get_last_lr() == pytest.approx([g["lr"] for g in b.param_groups])


def test_inverse_square_root():
    optimizer = make()
    path = rates(optimizer, ours.InverseSqrtLR(optimizer), 9)
    assert [lr for lr, _ in path] == pytest.approx([0.5 / math.sqrt(t) for t in range(1, 10)])
    optimizer = make()
    path = [lr for lr, _ in rates(optimizer, ours.InverseSqrtLR(optimizer, 4), 16)]
    assert path[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert path[15] == pytest.approx(0.25)


def test_errors():
    optimizer = make()
    with pytest.raises(TypeError, match="StepLR: expected an Optimizer, got int"):
        ours.StepLR(3, 1)
    with pytest.raises(ValueError, match="3 functions for 2 parameter groups"):
        ours.LambdaLR(optimizer, [abs] * 3)
    with pytest.raises(ValueError, match="1 schedules need 0 milestones, got 1"):
        ours.SequentialLR(optimizer, [ours.StepLR(optimizer, 1)], [3])
    with pytest.raises(ValueError, match="must be below 1"):
        ours.ReduceLROnPlateau(optimizer, factor=1)
    with pytest.raises(ValueError, match="start_factor is 0"):
        ours.LinearLR(optimizer, start_factor=0)
