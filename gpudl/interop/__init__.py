"""Ways to other programs: safetensors, the weight files of PyTorch."""

from gpudl.interop.torch_state import load_torch_state

__all__ = ["load_torch_state"]
