"""The devices, one module each; gpudl/device.py finds them by name."""
