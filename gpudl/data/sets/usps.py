"""USPS: 16x16 digits from the envelopes of the U.S. Postal Service, stored as text.

Each line of zip.train and zip.test is a digit, then 256 grey values from -1 (paper) to 1 (ink) in
steps of 0.001.
"""

from __future__ import annotations

import warnings
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpudl.data.dataset import ImageDataset
from gpudl.data.errors import damaged
from gpudl.data.files import check_labels, opened
from gpudl.data.registry import Info, Request, register
from gpudl.data.sources import Layout, Remote, Source
from gpudl.data.split import Split

SIDE = 16
COLUMNS = 1 + SIDE * SIDE
LIMIT = 1 << 25  # bytes of text; zip.train has 14.5 million

PUBLISHER = "https://hastie.su.domains/ElemStatLearn/datasets"
SOURCE = Source(
    "usps",
    ("usps", "USPS"),
    (Layout("text", (("zip.train.gz", "zip.train"), ("zip.test.gz", "zip.test"))),),
    (
        Remote(f"{PUBLISHER}/zip.train.gz", None),
        Remote(f"{PUBLISHER}/zip.test.gz", None),
    ),
)

# SHA-256 by number of lines, of the labels as bytes followed by the grey values in thousandths as
# little-endian int16. Files with the same numbers differ: they circulate in several notations, and
# gzip adds the date.
VALUES_SHA256 = {
    7291: "bb8c5577af2800d9a092a9516d927235e3eb00a05bf99fe8b76b432f12f748ae",
    2007: "ea677dd5aa43643ea8a81f2fd0f1e24ea2a8bfdd4613a16fc075ae9cf2b4760b",
}


@register(
    "usps",
    title="USPS digits from postal envelopes",
    shape=(1, SIDE, SIDE),
    classes=tuple("0123456789"),
    mean=(0.2545,),
    std=(0.3846,),
    origin="Y. Le Cun et al., 1990; T. Hastie, R. Tibshirani, J. Friedman, "
    "The Elements of Statistical Learning",
    source=SOURCE,
)
def read_usps(info: Info, request: Request) -> Split:
    """7,291 training and 2,007 test images, float32 scaled to [0, 1]."""
    paths = SOURCE.find(request.data_dir, request.download).paths
    return Split(*(_read(info, path) for path in paths))


def _read(info: Info, path: Path) -> ImageDataset:
    rows = read_rows(path)
    if not np.isin(rows[:, 0], range(len(info.classes))).all():
        raise damaged(path, "a line does not begin with a digit from 0 to 9")
    labels = rows[:, 0].astype(np.int64)
    check_labels(path, labels, len(info.classes))
    values = rows[:, 1:]
    # NaN fails this comparison, too.
    if not (np.abs(values) <= 1).all():
        raise damaged(path, "has grey values outside -1 to 1")
    _refuse_altered(path, labels, values)
    images = ((values + 1) / 2).reshape(-1, 1, SIDE, SIDE)
    return info.images(images, labels)


def _refuse_altered(
    path: Path, labels: npt.NDArray[np.int64], values: npt.NDArray[np.float32]
) -> None:
    thousandths = np.rint(values * 1000).astype("<i2")
    digest = sha256(labels.astype(np.uint8).tobytes() + thousandths.tobytes()).hexdigest()
    if VALUES_SHA256.get(len(labels), digest) != digest:
        raise damaged(path, f"has the published {len(labels)} lines, but with other numbers")


def read_rows(path: Path) -> npt.NDArray[np.float32]:
    """The lines of the file, (N, 257). Raises DataError if one does not have 257 numbers."""
    with opened(path) as file:
        lines = file.rest(LIMIT).splitlines()
    for number, line in enumerate(lines, 1):
        if (columns := len(line.split())) != COLUMNS:
            raise damaged(path, f"line {number} has {columns} numbers, expected {COLUMNS}")
    with warnings.catch_warnings():
        # NumPy only warns when it stops at something other than a number.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            values = np.fromstring(b" ".join(lines), dtype=np.float32, sep=" ")
        except (DeprecationWarning, ValueError):
            raise damaged(path, "contains something other than numbers") from None
    if values.size != len(lines) * COLUMNS:
        raise damaged(path, "contains something other than numbers")
    return values.reshape(-1, COLUMNS)
