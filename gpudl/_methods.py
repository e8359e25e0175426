"""The functions bound to Tensor at run time have their types in _methods.pyi (see
gpudl/ops/stubs.py)."""


class Methods:
    """Base of Tensor."""

    __slots__ = ()
