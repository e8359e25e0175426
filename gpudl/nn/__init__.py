"""Networks: modules, layers, functions, initialisation."""

from gpudl.nn import functional

__all__ = ["functional"]
