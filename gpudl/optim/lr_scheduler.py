"""Schedules: the learning rate as a function of time t. `scheduler.step()` advances t by one; call
it after each epoch or after each update. All schedules but ReduceLROnPlateau are closed formulas
in t."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gpudl.optim.optimizer import Optimizer


class LRScheduler:
    """Sets each group's lr to base_lr · factor(t), or as a subclass's `rate` defines it; t is
    last_epoch.

    base_lr is the group's "initial_lr", which the first schedule saves. last_epoch: the t to
    continue from; -1 starts at 0. Schedules of one optimizer multiply: if another schedule or the
    user has changed lr since the last step, base_lr is scaled accordingly, unless `step` gets an
    epoch. Groups added later are scheduled from their own lr.
    """

    chains = True  # False: lr is overwritten even if something else changed it, as in LambdaLR
    eta_min = 0.0  # other schedules scale only the part of lr above this

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: expected an Optimizer, got {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.last_epoch = last_epoch
        self.base_lrs: list[float] = []
        self._bases: list[float] = []  # base_lrs, scaled by changes from elsewhere
        self._last_lr: list[float] = []  # the values last set by this schedule
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
        raise TypeError(f"{type(self).__name__} does not define factor()")

    def rate(self, base_lr: float, t: int, group: int) -> float:
        return base_lr * self.factor(t)

    def step(self, epoch: int | None = None) -> None:
        """Advance t by one, or set it to `epoch`."""
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
        """The groups' current learning rates."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions: plain numbers and lists."""
        return {
            key: value
            for key, value in vars(self).items()
            if key not in ("optimizer", "lr_lambdas", "schedulers")
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what state_dict() returned. Load the optimizer's state first: it contains the
        learning rates."""
        vars(self).update(state_dict)
        if "_last_lr" not in state_dict and self.base_lrs:  # saved by an older version
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
    """lr = base_lr · gamma^(number of milestones reached)."""

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
    """A warm-up: the factor goes from start_factor to end_factor in total_iters steps and stays
    there."""

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
                f"LinearLR: start_factor is {start_factor} and end_factor is {end_factor}; they "
                "must be in (0, 1] and [0, 1]"
            )
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        way = min(t, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * way


class InverseSqrtLR(LRScheduler):
    """lr = base_lr/sqrt(t + 1): the lectures' 1/√t, where t is counted from 1.

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
    """Schedules in sequence: schedule i starts at milestones[i - 1], with its own t counted from
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
    """Multiply lr by factor when a metric has not improved for more than `patience` steps.

    step(metrics) takes the metric; NaN counts as no improvement and gives a warning. mode: whether
    lower ("min") or higher ("max") is better. An improvement must exceed the best value so far by
    threshold, relative (threshold_mode "rel") or absolute ("abs"). The `cooldown` steps after a
    reduction are not counted. No lr falls below min_lr (a number, or one per group); reductions
    smaller than eps are skipped.
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
                f"ReduceLROnPlateau: mode is {mode!r} and threshold_mode is {threshold_mode!r}; "
                "they must be 'min' or 'max', and 'rel' or 'abs'"
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
            warnings.warn("ReduceLROnPlateau: the metric is NaN", stacklevel=2)
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
