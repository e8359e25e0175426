"""Module: the base of all layers and networks, with PyTorch's names and state layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, ParamSpec, Protocol, TypeVar, overload

import numpy as np

from gpudl.autograd.tape import HookHandle, no_grad
from gpudl.autograd.tensor import Tensor, shared
from gpudl.core import dtypes
from gpudl.core.layout import arrange
from gpudl.core.op import Array, is_floating
from gpudl.core.refuse import NotATensorError, no_tensor, values_of_others
from gpudl.devices.find import Device, MetaArray, NativeDevice
from gpudl.devices.find import device as device_of
from gpudl.ops.shape.convert import move

__all__ = ["Module", "Parameter"]

M = TypeVar("M", bound="Module")
P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class HasForward(Protocol[P, R_co]):
    """A module whose class defines forward: calling it has forward's arguments and result."""

    @property
    def forward(self) -> Callable[P, R_co]: ...


class Parameter(Tensor):
    """A trainable tensor. Assigned to an attribute of a Module, it appears in parameters()."""

    __slots__ = ()

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        values = [] if data is None else data if hasattr(data, "shape") else shared(data)
        super().__init__(values, requires_grad=requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


def renamed(function: Any, qualified_name: str) -> FunctionType:
    """The same function under another name in errors."""
    copy = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = function.__annotations__
    copy.__doc__ = function.__doc__
    copy.__qualname__ = qualified_name
    return copy


def foreign_input(module: Module, inputs: tuple[Any, ...]) -> NotATensorError | None:
    """The error for an input of a layer of gpudl.nn that should be a Tensor, after it has
    failed."""
    if not type(module).__module__.startswith("gpudl.nn."):
        return None
    wrong = [value for value in inputs if values_of_others(value)]
    return no_tensor(type(module).__name__, "input", wrong[0]) if wrong else None


class LoadResult(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class AnyModule(Protocol):
    """A Module of unknown class, whose forward may have any arguments."""

    forward: Callable[..., Any] | None


class Module:
    """Base of layers and networks. A subclass assigns Parameters and Modules to attributes in
    `__init__` (after `super().__init__()`) and defines `forward`."""

    training: bool
    # Buffers that older saved weights may lack; they then keep their values.
    may_lack: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **named: Any) -> None:
        """Rename the inherited constructor of a gpudl layer, so that errors name Conv2d and not a
        base that the user never called."""
        super().__init_subclass__(**named)
        inherited = cls.__init__
        if cls.__module__.startswith("gpudl.") and inherited is not Module.__init__:
            setattr(cls, "__init__", renamed(inherited, f"{cls.__qualname__}.__init__"))  # noqa: B010

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules", "_hooks", "_pre_hooks"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_transient", set())  # buffers that are not part of the state
        object.__setattr__(self, "training", True)

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _hooks: dict[int, Callable[..., Any]]
    _pre_hooks: dict[int, Callable[..., Any]]
    _transient: set[str]

    if TYPE_CHECKING:
        # With None, so that a Module of unknown class is an AnyModule and no HasForward.
        forward: Callable[..., Any] | None
    else:

        def forward(self, *inputs: Any) -> Any:
            raise TypeError(f"{type(self).__name__} does not define forward()")

    @overload
    def __call__(self: HasForward[P, R_co], *inputs: P.args, **named: P.kwargs) -> R_co: ...

    @overload
    def __call__(self: AnyModule, *inputs: Any, **named: Any) -> Tensor: ...

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        for pre_hook in tuple(self._pre_hooks.values()):
            changed = pre_hook(self, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        try:
            output = self.forward(*inputs, **named)  # type: ignore[misc]
        except (AttributeError, TypeError) as error:
            refused = foreign_input(self, inputs)
            if refused is None or isinstance(error, NotATensorError):  # which is more precise
                raise
            raise refused from error
        for hook in tuple(self._hooks.values()):
            changed = hook(self, inputs, output)
            if changed is not None:
                output = changed
        return output

    def register_forward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(module, inputs, output)` after forward; a result other than None replaces the
        output.

        Returns a handle; its `remove()` removes the hook.
        """
        return HookHandle(self._hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(module, inputs)` before forward; a result other than None replaces the
        inputs."""
        return HookHandle(self._pre_hooks, hook)

    # ---------------------------------------------------------------- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__}: call super().__init__() before assigning {name!r}"
            )
        kinds: tuple[tuple[dict[str, Any], type], ...] = (
            (self._parameters, Parameter),
            (self._modules, Module),
        )
        for table, kind in kinds:
            if isinstance(value, kind):
                self._forget(name)
                table[name] = value
                return
        for table in (self._parameters, self._modules, self._buffers):
            if name in table:
                _check_replacement(self, name, value, table is self._buffers)
                table[name] = value
                return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            values = self.__dict__.get(table, {})
            if name in values:
                return values[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _forget(self, name: str) -> bool:
        known = False
        for table in (self._parameters, self._buffers, self._modules):
            known = table.pop(name, self) is not self or known
        self.__dict__.pop(name, None)
        self._transient.discard(name)
        return known

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Register a parameter; None reserves the name, as `bias=False` does."""
        _check_name(self, name)
        self._parameters[name] = parameter

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is not trained, such as running statistics. persistent: it is
        part of state_dict()."""
        _check_name(self, name)
        self._buffers[name] = tensor
        if not persistent:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        _check_name(self, name)
        self._modules[name] = module

    # ---------------------------------------------------------------- traversal

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all its descendants, each once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            children = [(_join(name, n), m) for n, m in module._modules.items() if m is not None]
            stack.extend(reversed(children))

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        return ((n, m) for n, m in self._modules.items() if m is not None)

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names; a tied parameter appears once, under its first
        name."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def _named(self, table: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in getattr(module, table).items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield _join(path, name), value

    def get_submodule(self, target: str) -> Module:
        """The module with a dotted name, such as "features.0"."""
        module: Module = self
        for part in filter(None, target.split(".")):
            child = module._modules.get(part)
            if child is None:
                raise AttributeError(f"{type(self).__name__} has no submodule {target!r}")
            module = child
        return module

    # ---------------------------------------------------------------- modes and devices

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call `function` on every module, children first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Set training mode: dropout is active, batch norm uses the batch's statistics."""
        object.__setattr__(self, "training", bool(mode))
        for module in self.children():
            module.train(mode)  # which a submodule may override
        return self

    def eval(self: M) -> M:
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.array[...] = 0
                parameter.grad._cell[0] += 1

    def to(self: M, *targets: Any, device: Any = None, dtype: Any = None) -> M:
        """Move all parameters and buffers, with their gradients, to a device, or convert floating
        ones to a dtype."""
        if dtype is not None:
            dtype = dtypes.dtype_of(dtype)
        for target in (t for t in (*targets, device, dtype) if t is not None):
            for tensor in (*self.parameters(), *self.buffers()):
                _move(tensor, target)
        return self

    def float(self: M) -> M:
        return self.to(np.dtype(np.float32))

    def double(self: M) -> M:
        return self.to(np.dtype(np.float64))

    # ---------------------------------------------------------------- state

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """All parameters and persistent buffers by dotted name, with PyTorch's layouts. The
        tensors share the module's memory; a tied parameter appears under each of its names."""
        state: dict[str, Tensor] = {}
        for name, tensor, _ in self._state(prefix):
            state[name] = tensor.detach()
        return state

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Tensor, bool]]:
        """The name and tensor of each entry of state_dict(), and whether each file must have it."""
        for name, value in (*self._parameters.items(), *self._buffers.items()):
            if value is not None and name not in self._transient:
                yield prefix + name, value, name not in self.may_lack
        for name, module in self._modules.items():
            if module is not None:
                yield from module._state(f"{prefix}{name}.")

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> LoadResult:
        """Copy values (Tensors or arrays) into the parameters and buffers, in place.

        Everything is checked before anything is changed. Weights of batch normalization may lack
        `num_batches_tracked`, as PyTorch's did before version 0.4.1.
        Raises KeyError for missing or unexpected names if `strict`, ValueError for wrong shapes.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: state_dict is of type {type(state_dict).__name__}; pass a "
                "dictionary, as from gpudl.load or gpudl.interop.load_torch_state"
            )
        own = {name: tensor for name, tensor, _ in self._state()}
        if strict and own and not state_dict:
            raise KeyError(
                f"load_state_dict: state_dict is empty, but {type(self).__name__} has "
                f"{len(own)} tensors; pass what state_dict() or gpudl.load returned"
            )
        missing = [
            name for name, _, required in self._state() if required and name not in state_dict
        ]
        unexpected = [name for name in state_dict if name not in own]
        if strict and (missing or unexpected):
            raise KeyError(
                f"load_state_dict: {type(self).__name__} has missing keys {missing} and unexpected "
                f"keys {unexpected}; pass strict=False to load the others"
            )
        values = {name: state_dict[name] for name in own if name in state_dict}
        for name, value in values.items():
            if tuple(value.shape) != tuple(own[name].shape):
                raise ValueError(
                    f"load_state_dict: {name} has shape {tuple(value.shape)}; "
                    f"it must have {tuple(own[name].shape)}"
                )
        for name, value in values.items():
            tensor = own[name]
            array = value.device.to_numpy(value.array) if isinstance(value, Tensor) else value
            tensor.array[...] = tensor.device.asarray(np.asarray(array).astype(tensor.dtype))
            tensor._cell[0] += 1
        return LoadResult(missing, unexpected)

    # ---------------------------------------------------------------- text

    def extra_repr(self) -> str:
        """The text in the parentheses of repr()."""
        return ""

    def __repr__(self) -> str:
        head = self.extra_repr()
        if not self._modules:
            return f"{type(self).__name__}({head})"
        lines = [
            f"  ({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        return f"{type(self).__name__}({head}\n" + "\n".join(lines) + "\n)"


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _check_name(module: Module, name: str) -> None:
    if not name or "." in name:
        raise KeyError(f"{type(module).__name__}: {name!r} is empty or contains a dot")
    if hasattr(module, name) and name not in (
        *module._parameters,
        *module._buffers,
        *module._modules,
    ):
        raise KeyError(f"{type(module).__name__}: attribute {name!r} already exists")


def _check_replacement(module: Module, name: str, value: Any, is_buffer: bool) -> None:
    if value is None or (is_buffer and isinstance(value, Tensor)):
        return
    kind = "a Tensor" if is_buffer else "a Parameter or Module"
    raise TypeError(
        f"{type(module).__name__}.{name}: must be {kind} or None, got {type(value).__name__}"
    )


def kernel_order(array: Array, device: Device) -> Array:
    """The parameter in the best memory order for the device: kernels expect the weights of
    convolutions channels-last."""
    if isinstance(device, NativeDevice) and array.ndim in (3, 4, 5):
        return arrange(device.xp, array, "nhwc")
    return array


def _move(tensor: Tensor, target: Any) -> None:
    """Change a tensor's device or dtype in place, so that optimizers keep their parameters."""
    device = tensor.device
    if isinstance(target, np.dtype) or (isinstance(target, type) and target is not str):
        dtype = dtypes.dtype_of(target)
        if not is_floating(dtype):
            raise TypeError(f"to: dtype is {dtype.name}; parameters hold floating-point numbers")
        if not is_floating(tensor.dtype) or tensor.dtype == dtype:
            return

        def change(array: Array) -> Array:
            if isinstance(array, MetaArray):
                return MetaArray(array.shape, dtype)
            return array.astype(dtype)
    else:
        device = device_of(target)
        if device is tensor.device:
            return
        if isinstance(tensor.array, MetaArray):
            raise ValueError("to: parameters on the meta device have no values to move")

        def change(array: Array) -> Array:
            moved = move(array, device)
            return kernel_order(moved, device) if isinstance(tensor, Parameter) else moved

    with no_grad():
        gradient = tensor._grad
        tensor.array, tensor.device = change(tensor.array), device
        tensor._grad = (
            None if gradient is None else Tensor.from_array(change(gradient.array), device)
        )
        tensor._cell[0] += 1
