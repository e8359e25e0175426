"""Optimizer: parameter groups, one launch per step, state dictionaries in PyTorch's format."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar, overload

import numpy as np

from gpudl.autograd.tape import enable_grad
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import is_floating
from gpudl.ops.optimizer.base import UpdateRule
from gpudl.optim.flat_state import FlatState
from gpudl.optim.launches import Chosen, Launch, launches_of

Group = dict[str, Any]
L = TypeVar("L")  # what a closure returns, the loss

OWN = {"l1", "lectures", "eps_inside"}  # options that PyTorch's optimizers lack
PATTERNS = 64  # how many sets of parameters updated together are cached


class Together(NamedTuple):
    """What one launch updates: parts of flat states, and the sets of hyperparameters they use."""

    rule: UpdateRule
    chosen: list[Chosen]
    sets: dict[tuple[float, ...], int]


class Optimizer:
    """Base of all optimizers. A subclass defines a parameter's state (`states`), the operator that
    updates it (`update`) and the operator's hyperparameters (`hyper`), and passes its options to
    `__init__` by name.

    params: tensors, or groups {"params": tensors, option: value}. A group's options are read at
    every step and may be changed. Parameters without a gradient, and their state, stay unchanged.

    Parameters are updated in place: neither they nor their gradients are moved, and tensors that
    share a parameter's memory continue to share it.
    """

    update: ClassVar[type[UpdateRule]]  # the operator; flags: the options that are its fields
    flags: ClassVar[tuple[str, ...]] = ("maximize",)
    checks: ClassVar[
        Mapping[str, tuple[Callable[[Any], bool], str]]
    ] = {}  # by option: a test, and a description of valid values
    counts_steps: ClassVar[bool] = True  # does the state dictionary have "step"?

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[Group] = []
        self._states: list[list[FlatState]] = []  # by group
        self._known: dict[Any, list[Launch]] = {}
        self._launches: list[Launch] = []
        given = [params] if isinstance(params, Tensor) else list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: got an empty list of parameters")
        groups: list[Any] = given if isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(dict(group))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters to train; options not given here get their defaults."""
        name = type(self).__name__
        given = param_group["params"]
        params = list(
            {id(p): p for p in ([given] if isinstance(given, Tensor) else given)}.values()
        )
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: can only train tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{name}: can only train leaves, not computed tensors")
            if not is_floating(p.dtype) or p.device.name == "meta":
                raise ValueError(
                    f"{name}: cannot train a tensor of dtype {p.dtype.name} on {p.device}"
                )
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in known for p in params):
            raise ValueError(f"{name}: a parameter is in more than one group")
        unknown = param_group.keys() - self.defaults.keys() - {"params", "initial_lr"}
        if unknown:
            raise TypeError(f"{name}: has no option {', '.join(sorted(unknown))}")
        group = {**self.defaults, **param_group, "params": params}
        for option, (test, words) in self.checks.items():
            complaint = f"{name}: {option} is {group[option]!r}; it must be {words}"
            try:
                fits = test(group[option])
            except TypeError:
                raise TypeError(complaint) from None
            if not fits:
                raise ValueError(complaint)
        self.param_groups.append(group)
        self._states.append(self._make_states(group))

    def _make_states(self, group: Group) -> list[FlatState]:
        alike: dict[Any, list[Tensor]] = {}
        for p in group["params"]:
            alike.setdefault((p.device.name, p.dtype), []).append(p)
        return [FlatState(params, self.states(group)) for params in alike.values()]

    # ---------------------------------------------------------------- defined by subclasses

    def states(self, group: Group) -> dict[str, float]:
        """The names of a parameter's state under these options, with initial values."""
        raise TypeError(f"{type(self).__name__} does not define states()")

    def rule(self, group: Group) -> UpdateRule:
        """The operator that updates the group's parameters."""
        rule: UpdateRule = self.update.of(*(group[flag] for flag in self.flags))
        return rule

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        """The operator's hyperparameters in update `step`, counted from 1. Parameters with equal
        hyperparameters are updated together."""
        raise TypeError(f"{type(self).__name__} does not define hyper()")

    def scalars(self, group: Group, step: int) -> dict[str, float]:
        """Numbers that PyTorch keeps in a parameter's state but that follow from the step count."""
        return {}

    # ---------------------------------------------------------------- training

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], L]) -> L: ...

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient. closure: recomputes the loss and its
        gradients; step returns the loss."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self.advance()
        self.launch()
        return loss

    def advance(self) -> None:
        """The host's half of step(): counts the step and writes the hyperparameters into device
        arrays, which stay the same as long as the same parameters have gradients.

        To replay a captured graph of launch(), call this before each replay.
        """
        found: dict[Any, Together] = {}
        for number, group in enumerate(self.param_groups):
            names, rule = self.states(group), self.rule(group)
            for state in self._current_states(number):
                if state.want_states(names):
                    self._known.clear()
                key = id(rule), id(state.device), state.dtype.char, tuple(names)
                together = found.get(key)
                if together is None:
                    together = found[key] = Together(rule, [], {})
                self._count(group, state, together)
        self._launches = []
        for rule, chosen, sets in found.values():
            if chosen:
                known = self._launches_of(rule, chosen)
                for launch in known:
                    launch.advance(list(sets))
                self._launches += known

    def _count(self, group: Group, state: FlatState, together: Together) -> None:
        """Count an update of the parameters with a gradient, and record their hyperparameters."""
        steps, sets = state.steps, together.sets
        active = [p._grad is not None for p in state.params]
        if all(active) and steps.count(steps[0]) == len(steps):  # the usual case, done quickly
            step = steps[0] + 1
            state.steps = [step] * len(steps)
            number = sets.setdefault(self.hyper(group, step), len(sets))
            together.chosen.append(Chosen(state, (number,) * len(steps)))
        elif any(active):
            steps = state.steps = [n + has for n, has in zip(steps, active, strict=True)]
            set_of = {
                step: sets.setdefault(self.hyper(group, step), len(sets))
                for step in dict.fromkeys(itertools.compress(steps, active))
            }
            chosen = [set_of[n] if has else None for n, has in zip(steps, active, strict=True)]
            together.chosen.append(Chosen(state, tuple(chosen)))

    def _launches_of(self, rule: UpdateRule, chosen: list[Chosen]) -> list[Launch]:
        key = id(rule), tuple([(id(state), numbers) for state, numbers in chosen])
        known = self._known.get(key)
        if known is None:
            if len(self._known) > PATTERNS:  # the set of parameters with gradients keeps changing
                self._known.clear()
            known = self._known[key] = launches_of(rule, chosen)
        return known

    def launch(self) -> None:
        """The device's half of step(): one kernel for all parameters with the same device, dtype
        and rule."""
        for launch in self._launches:
            launch.launch()

    def _current_states(self, number: int) -> list[FlatState]:
        """The group's state, rebuilt if parameters were moved."""
        states = self._states[number]
        if not all(state.fits() for state in states):
            saved = {id(p): entry for p, entry in self._all_state(states)}
            states = self._states[number] = self._make_states(self.param_groups[number])
            self._known.clear()
            for state in states:
                for i, p in enumerate(state.params):
                    if id(p) in saved:
                        _restore(state, i, saved[id(p)])
        return states

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set all gradients to None, or to zero (then momentum still moves the parameters)."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p._grad = None
                elif p._grad is not None:
                    p._grad.array[...] = 0
                    p._grad._cell[0] += 1

    # ---------------------------------------------------------------- state

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """For each parameter that was updated: "step" and the state's arrays, by name."""
        return {
            p: self._shown(group, {k: v for k, v in s.items() if k != "step"}, s["step"], p)
            for group, states in zip(self.param_groups, self._states, strict=True)
            for p, s in self._all_state(states)
        }

    def _all_state(self, states: list[FlatState]) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        for state in states:
            for i, p in enumerate(state.params):
                if state.steps[i]:
                    parts = {name: state.part(flat, i) for name, flat in state.states.items()}
                    yield p, {"step": state.steps[i], **parts}

    def _shown(self, group: Group, arrays: dict[str, Any], step: int, p: Tensor) -> dict[str, Any]:
        numbers: dict[str, float] = {"step": step} if self.counts_steps else {}
        numbers.update(self.scalars(group, step))
        shown = {name: Tensor(np.array(value, np.float32)) for name, value in numbers.items()}
        return {**shown, **{name: Tensor.from_array(a, p.device) for name, a in arrays.items()}}

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: {name: tensor}}, "param_groups": [{option: value, "params":
        [number]}]}, with parameters numbered across all groups, as in PyTorch. Tensors are
        copies."""
        numbers = {id(p): i for i, p in enumerate(self._all_params())}
        state = {
            numbers[id(p)]: {k: Tensor(v.array.copy(), device=v.device) for k, v in s.items()}
            for p, s in self.state.items()
        }
        groups = [
            {**group, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {
            "state": {number: entry for number, entry in state.items() if entry},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what state_dict() returned: the groups' options and the parameters' state.

        Raises ValueError for the state of another kind of optimizer or of other groups. Nothing is
        changed then.
        """
        groups = state_dict["param_groups"]
        ours = [len(group["params"]) for group in self.param_groups]
        theirs = [len(group["params"]) for group in groups]
        if ours != theirs:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the saved groups have {theirs} "
                f"parameters, but this optimizer's have {ours}"
            )
        for saved in groups:
            if missing := sorted(set(self.defaults) - set(saved) - OWN):
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: this is the state of another "
                    f"optimizer: it lacks the option {missing[0]!r}"
                )
        for group, saved in zip(self.param_groups, groups, strict=True):
            kept = {*self.defaults, "initial_lr"}  # PyTorch's groups hold more
            group.update({k: v for k, v in saved.items() if k in kept})
        order = [number for group in groups for number in group["params"]]
        entries = {
            id(p): state_dict["state"].get(number, state_dict["state"].get(str(number)))
            for p, number in zip(self._all_params(), order, strict=True)
        }
        for number, group in enumerate(self.param_groups):
            for state in self._current_states(number):
                if state.want_states(self.states(group)):
                    self._known.clear()
                for i, p in enumerate(state.params):
                    _restore(state, i, entries[id(p)] or {"step": 0})

    def _all_params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            options = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} parameters, {options}")
        return "\n".join([*lines, ")"])


def _restore(flat_state: FlatState, i: int, state: Mapping[str, Any]) -> None:
    """Set parameter i's state; entries that are missing get their initial values. Arrays may be
    on another device."""
    flat_state.steps[i] = int(state.get("step", 1))
    for name, flat in flat_state.states.items():
        value = state.get(name)
        part = flat_state.part(flat, i)
        if value is None:
            part[...] = flat_state.fills[name]
            continue
        array = value.array if isinstance(value, Tensor) else value
        if tuple(array.shape) != part.shape:
            raise ValueError(
                f"load_state_dict: {name} has shape {tuple(array.shape)}, but its parameter has "
                f"shape {part.shape}"
            )
        array = array if isinstance(array, np.ndarray) else _host(array)
        part[...] = flat_state.device.asarray(array)


def _host(array: Any) -> Any:
    """Any array as a NumPy array."""
    return array.get() if hasattr(array, "get") else np.asarray(array)
