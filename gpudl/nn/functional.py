"""Functions of networks without state, under PyTorch's names; they stand in gpudl.ops."""

from gpudl.ops import functions

globals().update(functions("functional"))
__all__ = sorted(functions("functional"))
