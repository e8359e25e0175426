"""What the models do on real data: one page of text, tables and pictures per system.

Each module of gpudl/zoo/pages holds one page. To add a page, add a module; edit nothing else.

>>> from gpudl import zoo
>>> zoo.write("lenet5", out="runs/zoo")
"""

from gpudl.zoo.page import Info, Page, find
from gpudl.zoo.pages import info, names
from gpudl.zoo.writer import write, write_index

__all__ = ["Info", "Page", "find", "info", "names", "write", "write_index"]
