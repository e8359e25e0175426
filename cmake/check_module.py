"""Fails the build if the module cannot be loaded: a symbol is missing, or importing it raises."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

path = Path(sys.argv[1])
name = f"gpudl.{path.name.split('.')[0]}"
loader = importlib.machinery.ExtensionFileLoader(name, str(path))
spec = importlib.util.spec_from_loader(name, loader)
try:
    loader.exec_module(importlib.util.module_from_spec(spec))
except ImportError as error:
    path.unlink()  # otherwise the next build would consider it up to date
    sys.exit(f"{path.name} was linked but cannot be loaded: {error}")
