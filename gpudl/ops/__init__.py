"""All operators, a folder for each family. Importing this package imports every module of every
family, binds Tensor's methods and collects the functions of gpudl and gpudl.nn.functional; a new
operator is a new module and edits nothing here."""

from __future__ import annotations

import gc
import os
from importlib import import_module

from gpudl.autograd.tensor import Tensor
from gpudl.core.public import functions as functions

_HOME = __path__[0]
_LATER = ("cases", "predict")  # examples for tests, predictions for GPUs: imported where needed

# Hundreds of classes are made here and none is garbage: looking for some takes a tenth of the time.
_collecting = gc.isenabled()
gc.disable()
try:
    for _family in sorted(os.listdir(_HOME)):
        if os.path.isdir(os.path.join(_HOME, _family)):
            for _file in sorted(os.listdir(os.path.join(_HOME, _family))):
                _module = _file.removesuffix(".py")
                if _file.endswith(".py") and _module not in ("__init__", *_LATER):
                    import_module(f"{__name__}.{_family}.{_module}")
finally:
    gc.freeze()
    gc.unfreeze()  # all that is there counts as old: the next search leaves it alone
    if _collecting:
        gc.enable()

for _name, _function in functions("Tensor").items():
    setattr(Tensor, _name, _function)
