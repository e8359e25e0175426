"""Schedules: the learning rate as a function of time. `scheduler.step()` moves time on by one,
which is an epoch or an update, as the user likes. All but ReduceLROnPlateau are closed formulas of
t."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gpudl.optim.optimizer import Optimizer


class LRScheduler:
    """Sets each group's lr to base_lr · factor(t) (or what a subclass's `rate` says), t =
    last_epoch.

    base_lr is the group's "initial_lr", remembered when the first schedule is made. last_epoch:
    the t to go on from; -1 starts at 0. Schedules of one optimizer multiply: what another schedule
    or the user has changed since the last step scales base_lr, unless `step` is given an epoch.
    Groups added later are scheduled from the lr that they come with.
    """

    chains = True  # False: changes made by others are overwritten, as PyTorch's LambdaLR does
    eta_min = 0.0  # what changes by others scale is the part of lr above it

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: got {type(optimizer).__name__}, not an Optimizer"
            )
        self.optimizer = optimizer
        self.last_epoch = last_epoch
        self.base_lrs: list[float] = []
        self._bases: list[float] = []  # base_lrs, scaled by what others have changed
        self._last_lr: list[float] = []  # what this schedule has set
        for i, group in enumerate(optimizer.param_groups):
            first = "initial_lr" not in group
            group.setdefault("initial_lr", group["lr"])
            base = group["initial_lr"]
            if first:
                self._add(base, base)
            else:
                self._add(base, base if last_epoch < 0 else self.rate(base, last_epoch, i))
        self.step()

    def _add(self, base: float, last: float) -> None:
        self.base_lrs.append(base)
        self._bases.append(base)
        self._last_lr.append(last)

    def factor(self, t: int) -> float:
        raise TypeError(f"{type(self).__name__} declares no factor")

    def rate(self, base_lr: float, t: int, group: int) -> float:
        return base_lr * self.factor(t)

    def step(self, epoch: int | None = None) -> None:
        """Time moves on by one, or to `epoch`."""
        for i, group in enumerate(self.optimizer.param_groups):
            if i == len(self.base_lrs):  # the group was added after the last step
                group.setdefault("initial_lr", group["lr"])
                base = group["initial_lr"]
                self._add(base, self.rate(base, self.last_epoch, i) if self.chains else base)
            if epoch is not None or not self.chains:
                self._bases[i] = self.base_lrs[i]
            elif group["lr"] != self._last_lr[i] != self.eta_min:
                scale = (group["lr"] - self.eta_min) / (self._last_lr[i] - self.eta_min)
                self._bases[i] = self.eta_min + (self._bases[i] - self.eta_min) * scale
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        for i, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self._last_lr[i] = self.rate(self._bases[i], self.last_epoch, i)

    def get_last_lr(self) -> list[float]:
        """The groups' learning rates as they are now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions: plain numbers and lists."""
        return {
            key: value
            for key, value in vars(self).items()
            if key not in ("optimizer", "lr_lambdas", "schedulers")
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where state_dict() was taken. The optimizer's own state carries the learning
        rates: load it first."""
        vars(self).update(state_dict)
        if "_last_lr" not in state_dict and self.base_lrs:  # saved before schedules multiplied
            self._bases = list(self.base_lrs)
            self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class LambdaLR(LRScheduler):
    """lr = base_lr · lr_lambda(t); one function, or one for each group."""

    chains = False

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self.lr_lambdas: Callable[[int], float] | list[Callable[[int], float]]
        is_list = isinstance(lr_lambda, (list, tuple))
        self.lr_lambdas = list(lr_lambda) if is_list else lr_lambda
        if is_list:
            _for_each_group("LambdaLR", "functions", self.lr_lambdas, optimizer)
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, t: int, group: int) -> float:
        if not isinstance(self.lr_lambdas, list):
            return base_lr * self.lr_lambdas(t)
        _for_each_group("LambdaLR", "functions", self.lr_lambdas, self.optimizer)
        return base_lr * self.lr_lambdas[group](t)


class StepLR(LRScheduler):
    """lr = base_lr · gamma^floor(t/step_size)."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        return self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """lr = base_lr · gamma^(how many milestones are reached)."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        return self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """lr = base_lr · gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        return self.gamma**t


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (base_lr - eta_min)·(1 + cos(π·t/T_max))/2 (Loshchilov and Hutter 2017, eq.
    5)."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base_lr: float, t: int, group: int) -> float:
        wave = (1 + math.cos(math.pi * t / self.T_max)) / 2
        return self.eta_min + (base_lr - self.eta_min) * wave


class LinearLR(LRScheduler):
    """The factor goes from start_factor to end_factor in total_iters steps, and stays: a
    warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                f"LinearLR: start_factor {start_factor} must be in (0, 1], end_factor {end_factor} "
                "in [0, 1]"
            )
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        way = min(t, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * way


class InverseSqrtLR(LRScheduler):
    """lr = base_lr/sqrt(t + 1), the 1/√t of the lectures with t counted from 1 there.

    With warmup_steps = w: rises linearly to base_lr at t + 1 = w, then base_lr·sqrt(w/(t + 1))
    (Vaswani et al. 2017, section 5.3, up to a constant).
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int = 1, last_epoch: int = -1) -> None:
        if warmup_steps < 1:
            raise ValueError(f"InverseSqrtLR: warmup_steps is {warmup_steps}; it must be 1 or more")
        self.warmup_steps = warmup_steps
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        w = self.warmup_steps
        return min((t + 1) / w, math.sqrt(w / (t + 1)))


class SequentialLR(LRScheduler):
    """One schedule after the other: number i from milestones[i - 1] on, with its own time from
    0."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} milestones, "
                f"got {len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: a schedule belongs to another optimizer")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def _at(self, t: int) -> tuple[int, int]:
        """The schedule that is on, by number, and its own time."""
        index = bisect_right(self.milestones, t)
        return index, t - (self.milestones[index - 1] if index else 0)

    def rate(self, base_lr: float, t: int, group: int) -> float:
        index, own = self._at(t)
        return self.schedulers[index].rate(base_lr, own, group)

    def step(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        index, own = self._at(self.last_epoch)
        goes_on = epoch is None and own == self.schedulers[index].last_epoch + 1 and own > 0
        self.schedulers[index].step(None if goes_on else own)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = dict(state_dict)
        for scheduler, state in zip(self.schedulers, own.pop("schedulers"), strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(own)


class ReduceLROnPlateau(LRScheduler):
    """Multiply lr by factor when a measure has not improved for more than `patience` steps.

    step(metrics) takes the measure; NaN is no improvement, and is warned of. mode: "min" or "max"
    is better. An improvement is better than the best so far by threshold, relative to it
    (threshold_mode "rel") or absolute ("abs"). After a reduction `cooldown` steps are not counted.
    No lr falls below min_lr (a number, or one for each group); steps smaller than eps are not
    taken.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor is {factor}; it must be below 1")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"ReduceLROnPlateau: mode {mode!r} must be min or max, threshold_mode "
                f"{threshold_mode!r} rel or abs"
            )
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else min_lr
        if isinstance(self.min_lrs, list):
            _for_each_group("ReduceLROnPlateau", "min_lr", self.min_lrs, optimizer)
        self.mode, self.patience, self.cooldown, self.eps = mode, patience, cooldown, eps
        self.reduction, self.threshold, self.threshold_mode = factor, threshold, threshold_mode
        self.optimizer = optimizer
        self.base_lrs = []
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        measure = float(metrics)
        if math.isnan(measure):
            warnings.warn("ReduceLROnPlateau: the measure is NaN", stacklevel=2)
        if self._better(measure):
            self.best, self.num_bad_epochs = measure, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, measure: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * measure > sign * self.best + self.threshold
        return sign * measure > sign * self.best * (1 + sign * self.threshold)

    def _reduce(self) -> None:
        if isinstance(self.min_lrs, list):
            _for_each_group("ReduceLROnPlateau", "min_lr", self.min_lrs, self.optimizer)
        for i, group in enumerate(self.optimizer.param_groups):
            least = self.min_lrs[i] if isinstance(self.min_lrs, list) else self.min_lrs
            lowered = max(group["lr"] * self.reduction, least)
            if group["lr"] - lowered > self.eps:
                group["lr"] = lowered


def _for_each_group(schedule: str, what: str, values: list[Any], optimizer: Optimizer) -> None:
    if len(values) != len(optimizer.param_groups):
        raise ValueError(
            f"{schedule}: {len(values)} {what} for {len(optimizer.param_groups)} parameter groups; "
            "give one for all groups, or one for each"
        )
