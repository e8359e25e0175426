"""Stateless functions under PyTorch's names, defined in gpudl.ops."""

from gpudl.ops import functions

globals().update(functions("functional"))
__all__ = sorted(functions("functional"))
