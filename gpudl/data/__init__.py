"""Data sets, loaders and transforms.

>>> from gpudl.data import Loader, load
>>> train, test = load("digits")
>>> images, labels = next(iter(Loader(train, batch_size=64, shuffle=True, seed=0)))
>>> tuple(images.shape)
(64, 1, 28, 28)
"""

from gpudl.data import transforms
from gpudl.data.classes import OfClasses, class_names, find_labels
from gpudl.data.dataset import (
    ArrayDataset,
    Dataset,
    ImageDataset,
    Subset,
    channel_statistics,
    random_split,
    stratified_split,
)
from gpudl.data.errors import DataError
from gpudl.data.image_file import load_image
from gpudl.data.labelled_text import LabelledTexts, forgeries, load_texts
from gpudl.data.loader import Loader
from gpudl.data.registry import Info, Request, info, load, names, register
from gpudl.data.split import Split
from gpudl.data.text import Streams, TextDataset

__all__ = [
    "ArrayDataset",
    "DataError",
    "Dataset",
    "ImageDataset",
    "Info",
    "LabelledTexts",
    "Loader",
    "OfClasses",
    "Request",
    "Split",
    "Streams",
    "Subset",
    "TextDataset",
    "channel_statistics",
    "class_names",
    "find_labels",
    "forgeries",
    "info",
    "load",
    "load_image",
    "load_texts",
    "names",
    "random_split",
    "register",
    "stratified_split",
    "transforms",
]
