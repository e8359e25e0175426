"""Networks, one module of `nets` per family. To add a family, add a module there and run `make
stubs`, which gives its functions their types; edit nothing else.

>>> from gpudl import models
>>> models.names()
['lenet5', 'mlp']
>>> net = models.create("lenet5", num_classes=10)
"""

import pkgutil
from importlib import import_module

from gpudl.models import nets as _nets
from gpudl.models.registry import Info, create, info, names, register

for _module in sorted(m.name for m in pkgutil.iter_modules(_nets.__path__)):
    import_module(f"{_nets.__name__}.{_module}")

globals().update({name: info(name).build for name in names()})
__all__ = ["Info", "create", "info", "names", "register", *names()]
