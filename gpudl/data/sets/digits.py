"""1,797 handwritten digits, scanned from forms, that come with gpudl: real data without a download.

digits.npz holds the test part of the Optical Recognition of Handwritten Digits data set
(https://archive.ics.uci.edu/dataset/80), unchanged, under the licence CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpudl.data.dataset import ImageDataset, channel_statistics
from gpudl.data.registry import Info, Request, register
from gpudl.data.split import Split, hold_out
from gpudl.data.transforms import resize

GREATEST = 16  # pixel value: each of the 8x8 counts the dark pixels in a 4x4 block of the scan
SIZE = 28  # as MNIST, so that models fit both


@register(
    "digits",
    title="Handwritten digits, 8x8, included",
    shape=(1, SIZE, SIZE),
    classes=tuple("0123456789"),
    origin="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, CC BY 4.0",
)
def read_digits(info: Info, request: Request) -> Split:
    """Images in [0, 1] of 28x28 or the requested size; a fifth of each class is held out."""
    with np.load(Path(__file__).with_name("digits.npz")) as file:
        scans, labels = file["images"], file["labels"]
    images = scans[:, None].astype(np.float32) / np.float32(GREATEST)
    images = resize(images, SIZE if request.size is None else request.size)
    train, test = hold_out("digits", labels, request.seed)
    mean, std = channel_statistics(images[train])
    return Split(
        *(
            ImageDataset(images[part], labels[part], info.classes, mean, std)
            for part in (train, test)
        )
    )
