"""Updates many parameters at once, in place.

A kernel updates all of them in one launch, through a table of their addresses. Without kernels,
each call of the operator updates one large parameter, or many small ones that are gathered before
and scattered after it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.autograd.views import is_writable
from gpudl.core.layout import flattened, is_dense, shaped
from gpudl.core.op import Array, Plan, is_small
from gpudl.devices.base import quietly
from gpudl.ops.optimizer.base import CHUNK, SET, UpdateRule
from gpudl.ops.optimizer.blocks import blocks_of, offsets
from gpudl.optim.flat_state import FlatState

FIRST_STATE = UpdateRule.FIRST_STATE


class Chosen(NamedTuple):
    """The parameters of a flat state to update: for each the index of its hyperparameters, or
    None."""

    state: FlatState
    numbers: tuple[int | None, ...]


class Member(NamedTuple):
    """A parameter to update: its index in a FlatState and the index of its hyperparameters."""

    state: FlatState
    i: int
    numbers: int

    @property
    def param(self) -> Tensor:
        return self.state.params[self.i]

    @property
    def order(self) -> tuple[int, ...]:
        return self.state.orders[self.i]


class Launch:
    """members: parameters with gradients and the same device, dtype and state names."""

    def __init__(self, rule: UpdateRule, members: Sequence[Member]) -> None:
        self.rule = rule
        self.members = list(members)
        self.params = [m.param for m in members]
        first = members[0].state
        self.device, self.dtype = first.device, first.dtype
        self.names = [name for name in rule.inputs[FIRST_STATE:] if name in first.states]
        self.hyper: Tensor | None = None
        self._numbers: list[tuple[float, ...]] = []

    def advance(self, numbers: list[tuple[float, ...]]) -> None:
        """The host's half of a step: send changed hyperparameters to the device, always to the same
        address, because a captured graph reads them there."""
        if numbers != self._numbers:
            array = self.device.asarray(np.array(numbers, self.dtype))
            if self.hyper is None:
                self.hyper = Tensor.from_array(array, self.device)
            else:
                self.hyper.array[...] = array
            self._numbers = numbers
        self.find()

    def find(self) -> None:
        """Record the current addresses of parameters and gradients."""

    def launch(self) -> None:
        """The device's half of a step."""
        self.run()
        for p in self.params:
            p._cell[0] += 1

    def run(self) -> None:
        raise TypeError

    def states(self, pieces: dict[str, Any]) -> list[Tensor | None]:
        """The state as arguments of the rule; None for states that the parameters do not have."""
        found = [pieces.get(name) for name in self.rule.inputs[FIRST_STATE:]]
        return [None if a is None else self.tensor(a) for a in found]

    def tensor(self, array: Array) -> Tensor:
        return Tensor.from_array(array, self.device)


class TableLaunch(Launch):
    """One kernel, which reads the address of each parameter and gradient from a table. An array
    with gaps, or a gradient whose memory order differs from its parameter's, is copied to a dense
    array first."""

    def __init__(self, rule: UpdateRule, members: Sequence[Member]) -> None:
        super().__init__(rule, members)
        self.members = [m for m in members if m.state.sizes[m.i]]
        # Arrays that the rows' offsets are relative to; never read or written.
        self.anchors = [self.tensor(self.device.xp.empty(1, self.dtype)) for _ in range(2)]
        self.origins = [self.device.address(a.array) for a in self.anchors]
        flats = members[0].state.states
        self.flats = [flats[name] for name in self.names]
        rows = np.zeros((len(self.members), SET + 1 + len(self.names)), np.int64)
        rows[:, SET] = [m.numbers for m in self.members]
        for column, (name, flat) in enumerate(zip(self.names, self.flats, strict=True), SET + 1):
            found = [self.device.address(s.piece(s.states[name], i)) for s, i, _ in self.members]
            rows[:, column] = self._offsets(found, self.device.address(flat.array))
        self._rows = rows
        self.rows = self.tensor(self.device.asarray(rows.copy()))
        blocks = blocks_of([m.state.sizes[m.i] for m in self.members])
        self.blocks = self.tensor(self.device.asarray(blocks))
        self._copies: dict[tuple[int, bool], Array] = {}
        self._detours: list[tuple[int, bool]] = []  # (member, is it the gradient?)

    def _offsets(self, addresses: list[int], origin: int) -> Any:
        return offsets(addresses, origin, self.dtype.itemsize)

    def find(self) -> None:
        self._detours = []
        check_writable(self.params)
        rows = self._rows.copy()
        params = [self._address(k, m.param.array, m.order) for k, m in enumerate(self.members)]
        grads = [
            self._address(k, _gradient(m.param).array, m.order, gradient=True)
            for k, m in enumerate(self.members)
        ]
        rows[:, 0] = self._offsets(params, self.origins[0])
        rows[:, 1] = self._offsets(grads, self.origins[1])
        if not np.array_equal(rows, self._rows):
            self._rows = rows
            self.rows.array[...] = self.device.asarray(rows)

    def _address(self, k: int, array: Array, order: tuple[int, ...], gradient: bool = False) -> int:
        address = self.device.address(array)
        dense = is_dense(array, order) and array.dtype == self.dtype
        if dense and address % self.dtype.itemsize == 0:
            return address
        self._detours.append((k, gradient))
        copy = self._copies.get((k, gradient))
        if copy is None:
            empty = self.device.xp.empty(array.size, self.dtype)
            copy = self._copies[k, gradient] = shaped(empty, array.shape, order)
        return self.device.address(copy)

    def run(self) -> None:
        if not self.members:  # all are empty
            return
        for k, gradient in self._detours:
            member = self.members[k]
            source = _gradient(member.param) if gradient else member.param
            self._copies[k, gradient][...] = source.array
        states = self.states({n: f.array for n, f in zip(self.names, self.flats, strict=True)})
        apply(self.rule, *self.anchors, self.hyper, self.rows, self.blocks, *states)
        for k, gradient in self._detours:
            if not gradient:
                self.members[k].param.array[...] = self._copies[k, False]


class Call(NamedTuple):
    """One call of the rule for parameters whose states are adjacent. targets: pairs (parameter's
    memory, its part of the gathered array); empty if there is only one parameter, which the rule
    updates directly. orders: the parameters' memory orders; None if all are row-major."""

    params: list[Tensor]
    orders: list[tuple[int, ...]] | None
    targets: list[tuple[Array, Array]]
    param: Array
    grad: Array  # to gather in
    set: int
    hyper: Array  # this set
    states: list[Array | None]
    plan: Plan

    def gather(self, xp: Any, arrays: list[Array], out: Array) -> None:
        """Concatenate the elements of arrays with these memory orders into `out`."""
        if self.orders is None:
            xp.concatenate(arrays, None, out)
        else:
            flats = [flattened(a, o) for a, o in zip(arrays, self.orders, strict=True)]
            xp.concatenate(flats, out=out)

    def gradient(self, xp: Any) -> Array:
        """The gradients, one after the other; gathers the parameters too."""
        grads = [p._grad.array for p in self.params if p._grad is not None]
        if self.targets:
            self.gather(xp, [p.array for p in self.params], self.param)
            self.gather(xp, grads, self.grad)
            return self.grad
        grad = grads[0]
        flat = grad.reshape(-1) if self.orders is None else flattened(grad, self.orders[0])
        return flat.astype(self.param.dtype, copy=False)

    def put_back(self) -> None:
        for target, part in self.targets:
            target[...] = part


class GatheredLaunch(Launch):
    """One call of the rule for each large parameter, and one for many small ones."""

    def __init__(self, rule: UpdateRule, members: Sequence[Member]) -> None:
        super().__init__(rule, members)
        self._arrays: list[Array] = []
        self._calls: list[Call] = []

    def find(self) -> None:
        arrays = [p.array for p in self.params]
        if len(arrays) == len(self._arrays) and all(map(operator.is_, arrays, self._arrays)):
            return
        check_writable(self.params)
        self._arrays = arrays
        runs = list(side_by_side(self.members))
        longest = max((sum(m.state.sizes[m.i] for m in run) for run in runs), default=0)
        xp = self.device.xp
        spare = xp.empty(longest, self.dtype), xp.empty(longest, self.dtype)
        self._calls = [self._call(run, *spare) for run in runs]

    def _call(self, members: list[Member], param: Array, grad: Array) -> Call:
        assert self.hyper is not None
        state, i, numbers = members[0]
        size = sum(m.state.sizes[m.i] for m in members)
        begin = state.offsets[i]
        states = {name: state.states[name].array[begin : begin + size] for name in self.names}
        params, orders, targets = [m.param for m in members], [m.order for m in members], []
        param, grad = param[:size], grad[:size]
        if len(members) == 1 and is_dense(params[0].array, orders[0]):
            param = flattened(params[0].array, orders[0])
        else:
            at = 0
            for p, order in zip(params, orders, strict=True):
                part = param[at : (at := at + p.numel())]
                dense = is_dense(p.array, order)
                target = flattened(p.array, order) if dense else p.array
                targets.append((target, part if dense else shaped(part, p.shape, order)))
        hyper = self.hyper.array[numbers : numbers + 1]
        found = [states.get(name) for name in self.rule.inputs[FIRST_STATE:]]
        straight = all(order == tuple(range(len(order))) for order in orders)
        plan = self.rule.plan((param, grad, hyper, None, None, *found))
        return Call(
            params, None if straight else orders, targets, param, grad, numbers, hyper, found, plan
        )

    def run(self) -> None:
        if self.device.name == "cpu" and not is_small(self.dtype):
            quietly(self.rule.over, np, self._prepared())
            return
        device = self.device
        for call in self._calls:
            arrays = call.param, call.gradient(device.xp), call.hyper, None, None, *call.states
            forward = device.forward_wide if call.plan.wide else device.forward
            forward(self.rule, call.plan.specs, arrays)
            call.put_back()

    def _prepared(self) -> Iterator[tuple[Array, Array, Array, list[Array | None]]]:
        """What the rule works on, one after the other; each is put back when the next is asked
        for."""
        numbers = (
            [self.hyper.array[k] for k in range(len(self._numbers))]
            if self.hyper is not None
            else []
        )
        for call in self._calls:
            yield call.param, call.gradient(np), numbers[call.set], call.states
            call.put_back()


def check_writable(params: Iterable[Tensor]) -> None:
    """Refuse to update what may not be written, before anything is changed."""
    for p in params:
        shape, strides = p.array.shape, p.array.strides
        repeated = any(n > 1 and s == 0 for n, s in zip(shape, strides, strict=True))
        if p.numel() and (repeated or not is_writable(p.array)):
            raise RuntimeError(
                "optimizer: a parameter's memory is read-only, or one element stands for several "
                "(expand); clone() the tensor first"
            )


def _gradient(param: Tensor) -> Tensor:
    gradient = param._grad
    assert gradient is not None
    return gradient


def side_by_side(members: Sequence[Member]) -> Iterator[list[Member]]:
    """Groups of small members with adjacent states, as many as fit in the cache; large members
    one by one."""
    run: list[Member] = []
    stop = total = 0
    for m in sorted(members, key=lambda m: (id(m.state), m.state.offsets[m.i])):
        state, i, numbers = m
        size = state.sizes[i]
        if size == 0:
            continue
        follows = run and run[-1].state is state and run[-1].numbers == numbers
        fits = follows and state.small(i) and state.offsets[i] == stop and total + size <= CHUNK
        if run and not fits:
            yield run
            run, total = [], 0
        run.append(m)
        stop, total = state.offsets[i] + size, total + size
    if run:
        yield run


def apart(members: Sequence[Member]) -> list[list[Member]]:
    """The members in rounds, so that no two in a round share memory: those that do are updated one
    after the other, as in PyTorch."""
    spans = [_span(m) for m in members]
    in_order = sorted(spans)
    if all(a[1] <= b[0] for a, b in pairwise(in_order)):
        return [list(members)]
    rounds: list[list[Member]] = []
    place: list[int] = []  # of each member, its round
    for k, m in enumerate(members):
        (start, stop), before = spans[k], spans[:k]
        shared = [place[j] for j, (a, b) in enumerate(before) if a < stop and start < b]
        place.append(max(shared, default=-1) + 1)
        rounds += [[]] * (place[k] == len(rounds))
        rounds[place[k]] = [*rounds[place[k]], m]
    return rounds


def _span(member: Member) -> tuple[int, int]:
    """The addresses of a parameter's first byte and of the byte after its last."""
    array = member.param.array
    start = stop = member.state.device.address(array)
    if array.size == 0:
        return start, stop
    for extent, stride in zip(array.shape, array.strides, strict=True):
        start += min(0, (extent - 1) * stride)
        stop += max(0, (extent - 1) * stride)
    return start, stop + array.itemsize


def launches_of(rule: UpdateRule, chosen: Sequence[Chosen]) -> list[Launch]:
    """The launches that update these parameters."""
    members = [
        Member(state, i, n)
        for state, numbers in chosen
        for i, n in enumerate(numbers)
        if n is not None
    ]
    kind = TableLaunch if members[0].state.by_table else GatheredLaunch
    return [kind(rule, round_) for round_ in apart(members)]
