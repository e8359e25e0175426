"""Files shared with other programs: safetensors and PyTorch's weight files."""

from gpudl.interop.torch_state import load_torch_state

__all__ = ["load_torch_state"]
