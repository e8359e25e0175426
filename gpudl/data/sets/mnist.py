"""MNIST and Fashion-MNIST, which have the same format, number and size of images."""

from __future__ import annotations

from hashlib import md5
from pathlib import Path

import numpy as np

from gpudl.data.dataset import ImageDataset
from gpudl.data.errors import damaged
from gpudl.data.files import check_labels
from gpudl.data.idx import read_idx
from gpudl.data.registry import Info, Request, register
from gpudl.data.sources import Layout, Remote, Source
from gpudl.data.split import Split

SIDE = 28
MOST = 60000  # images in one file
FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")

# MD5 of the values of the training labels: the files of both sets have the same names, so only
# their contents tell them apart.
LABELS_MD5 = {
    "mnist": "e86ee40d66677c011a9abda399ec8c4d",
    "fashion-mnist": "3236f6424fc25388b2834cb19942cf7e",
}


def _source(name: str, torchvision: str, mirror: str, checksums: str) -> Source:
    """checksums: the MD5 of the four compressed files."""
    files = tuple(
        (f"{file}-ubyte.gz", f"{file}-ubyte", f"{file.replace('-idx', '.idx')}-ubyte")
        for file in FILES
    )
    remotes = tuple(
        Remote(f"{mirror}/{file}-ubyte.gz", f"md5:{checksum}")
        for file, checksum in zip(FILES, checksums.split(), strict=True)
    )
    subfolders = (name, f"{torchvision}/raw", torchvision)
    return Source(name, subfolders, (Layout("idx", files),), remotes)


MNIST = _source(
    "mnist",
    "MNIST",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    """f68b3c2dcbeaaa9fbdd348bbdeb94873 d53e105ee54ea40749a09fcbcd1e9432
    9fb629c4189551a2d022fa330f9573f3 ec29112dd5afa0611ce80d1b7f02629c""",
)
FASHION_MNIST = _source(
    "fashion-mnist",
    "FashionMNIST",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    """8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe
    bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310""",
)


@register(
    "mnist",
    title="MNIST handwritten digits",
    shape=(1, SIDE, SIDE),
    classes=tuple("0123456789"),
    mean=(0.1307,),
    std=(0.3081,),
    origin="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86, 1998; CC BY-SA 3.0",
    source=MNIST,
)
def read_mnist(info: Info, request: Request) -> Split:
    """60,000 training and 10,000 test images."""
    return _read(info, MNIST, request)


@register(
    "fashion-mnist",
    title="Fashion-MNIST articles of clothing",
    shape=(1, SIDE, SIDE),
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    mean=(0.2860,),
    std=(0.3530,),
    origin="H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747, 2017; MIT",
    source=FASHION_MNIST,
)
def read_fashion_mnist(info: Info, request: Request) -> Split:
    """60,000 training and 10,000 test images."""
    return _read(info, FASHION_MNIST, request)


def _read(info: Info, source: Source, request: Request) -> Split:
    paths = source.find(request.data_dir, request.download).paths
    return Split(_part(info, paths[0], paths[1]), _part(info, paths[2], paths[3]))


def _part(info: Info, image_path: Path, label_path: Path) -> ImageDataset:
    labels = read_idx(label_path, 1, MOST)
    check_labels(label_path, labels, len(info.classes))
    _refuse_other_set(info.name, label_path, labels.tobytes())
    images = read_idx(image_path, 3, MOST * SIDE * SIDE)
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
        raise damaged(
            image_path,
            f"holds {images.dtype} images of {images.shape[1:]}, expected uint8 of {(SIDE, SIDE)}",
        )
    if len(images) != len(labels):
        raise damaged(
            image_path, f"has {len(images)} images, but {label_path} has {len(labels)} labels"
        )
    return info.images(images[:, None], labels)


def _refuse_other_set(name: str, path: Path, labels: bytes) -> None:
    digest = md5(labels, usedforsecurity=False).hexdigest()
    for other, known in LABELS_MD5.items():
        if other != name and digest == known:
            raise damaged(
                path, f"is a file of {other}, not of {name}", f"move it to a folder named {other}"
            )
