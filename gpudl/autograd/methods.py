"""The functions bound to Tensor at run time; their types stand in methods.pyi, which `make stubs`
writes."""


class Methods:
    """Base of Tensor."""

    __slots__ = ()
