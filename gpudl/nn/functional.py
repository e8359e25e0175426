"""Functions of networks without state, under PyTorch's names: filled from the operators' modules."""

from gpudl.ops import functions

globals().update(functions("functional"))
__all__ = sorted(functions("functional"))
