"""The functions bound to Tensor at run time; their types are in methods.pyi, which `make stubs`
writes."""

from __future__ import annotations

from typing import Any


class Methods:
    """Base of Tensor, written Methods["Tensor"]: the stub does not import what is above it."""

    __slots__ = ()

    def __class_getitem__(cls, tensor: Any) -> type[Methods]:
        return cls
