"""The devices, one module each; gpudl/devices/find.py finds them by name."""
