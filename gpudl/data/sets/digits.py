"""The 1,797 handwritten digits that come with scikit-learn: real scans without a download."""

from __future__ import annotations

import numpy as np

from gpudl.data.dataset import ImageDataset, channel_statistics
from gpudl.data.errors import DataError
from gpudl.data.registry import Info, Request, register
from gpudl.data.split import Split, hold_out
from gpudl.data.transforms import resize

GREATEST = 16  # pixel value: each of the 8x8 counts the dark pixels in a 4x4 block of the scan
SIZE = 28  # as MNIST, so that models fit both


@register(
    "digits",
    title="Handwritten digits, 8x8, from scikit-learn",
    shape=(1, SIZE, SIZE),
    classes=tuple("0123456789"),
    origin="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, CC BY 4.0",
)
def read_digits(info: Info, request: Request) -> Split:
    """Images in [0, 1] of 28x28 or the requested size; a fifth of each class is held out."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError(
            "the data set digits comes with scikit-learn, which is not installed; "
            "pip install scikit-learn"
        ) from None
    scans, labels = load_digits(return_X_y=True)
    images = scans.reshape(-1, 1, 8, 8).astype(np.float32) / np.float32(GREATEST)
    images = resize(images, SIZE if request.size is None else request.size)
    train, test = hold_out("digits", labels, request.seed)
    mean, std = channel_statistics(images[train])
    return Split(
        *(
            ImageDataset(images[part], labels[part], info.classes, mean, std)
            for part in (train, test)
        )
    )
