"""Loads the extension modules gpudl._emulator and gpudl._cuda, and says what is missing."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from functools import cache
from types import ModuleType

from gpudl.core.launcher import Computes, Launcher, Parameter

NAMES = ("emulator", "cuda")
_PACKAGE = os.path.dirname(os.path.dirname(__file__))

_REBUILD = "install gpudl again (pip install --force-reinstall --no-deps .; in a clone: make {})"
_ABSENT = {
    "emulator": "it is built where a C++20 compiler and Python's headers are installed "
    "(apt-get install g++ python3-dev)",
    "cuda": "it is built where there is an NVIDIA GPU, or with GPUDL_CUDA=on, if CUDA's compiler "
    "nvcc, 12.0 or newer, and a C++20 compiler are installed (put nvcc on PATH or set CUDA_HOME)",
}


@cache
def load(name: str) -> ModuleType:
    """The extension module of the `emulator` or of the `cuda` device.

    The environment variable GPUDL_EMULATOR_MODULE names another build of the emulator
    (sanitizers, race detector).
    Raises ImportError, whose message says what is missing and how to get it.
    """
    import importlib.util

    path = _path(name)
    full_name = f"gpudl._{name}"
    loader = importlib.machinery.ExtensionFileLoader(full_name, path)
    spec = importlib.util.spec_from_file_location(full_name, path, loader=loader)
    assert spec is not None
    try:
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    except ImportError as error:
        raise ImportError(
            f"{full_name} was built but does not load ({error}); {_REBUILD.format(name)}."
        ) from error
    sys.modules[full_name] = module
    return module


@cache
def launchers(name: str) -> dict[str, Launcher]:
    """The launchers of the module `name` by their names, `<op>_<direction>_<algorithm>`."""
    module = load(name)
    found = {}
    for launcher, schema in module.schema.items():
        known = {
            "computes": Computes(*schema["computes"]),
            "parameters": tuple(Parameter(**p) for p in schema["parameters"]),
            "run": getattr(module, launcher),
            "workspace": getattr(module, f"{launcher}_workspace", None),
            "module": module,
        }
        found[launcher] = Launcher(**{**schema, **known})
    return found


def why_missing(name: str) -> str | None:
    """Why the module is unavailable and how to get it, in one sentence; None if it loads."""
    try:
        load(name)
    except ImportError as error:
        return str(error)
    return None


def _path(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"unknown native module {name!r}; it must be one of {', '.join(NAMES)}")
    path = os.environ.get("GPUDL_EMULATOR_MODULE") if name == "emulator" else None
    if path:
        if not os.path.isfile(path):
            raise ImportError(
                f"GPUDL_EMULATOR_MODULE names {path}, which is not a file; "
                "unset it or build it (make emulator)."
            )
        return path
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = os.path.join(_PACKAGE, f"_{name}{suffix}")
        if os.path.isfile(path):
            return path
    raise ImportError(
        f"gpudl._{name} is not part of this installation; {_ABSENT[name]}, "
        f"then {_REBUILD.format(name)}."
    )
