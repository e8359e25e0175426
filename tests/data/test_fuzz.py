"""Every reader of files under random damage: a result, or an error that names the file.

A failure prints how to repeat it. The slow test tries more damage.
"""

import gzip
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import gpudl
from gpudl.data import load
from gpudl.data.idx import read_idx
from gpudl.data.image_file import measure, read_image
from gpudl.data.pickles import read_pickle
from gpudl.interop import load_torch_state
from gpudl.train import TrainingError, load_state, save_state
from tests.data.small_files import idx_bytes, python_batch

IMAGES = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2)


class Reader(NamedTuple):
    name: str
    make: Callable
    read: Callable


def made_by(write):
    """The bytes that `write` writes to a stream."""
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def picture(kind):
    return lambda path: made_by(lambda file: Image.fromarray(IMAGES[0]).save(file, kind))


def weights(path):
    gpudl.save({"w": gpudl.ones(2, 3), "n": gpudl.tensor(7)}, path)
    return path.read_bytes()


def checkpoint(path):
    save_state(path, {"epoch": 3, "w": np.ones((2, 3)), "by number": {0: [1.5, None]}})
    return path.read_bytes()


def torch_weights(zipped):
    def make(path):
        torch = pytest.importorskip("torch")
        state = {"w": torch.arange(6.0).reshape(2, 3).T, "n": torch.tensor(7)}
        return made_by(lambda file: torch.save(state, file, _use_new_zipfile_serialization=zipped))

    return make


def arrays(save):
    return lambda path: made_by(lambda file: save(file, images=IMAGES, labels=[0, 1, 0, 1]))


READERS = [
    Reader("a", lambda path: idx_bytes(IMAGES), lambda path: read_idx(path, 3)),
    Reader("a.gz", lambda path: gzip.compress(idx_bytes(IMAGES)), lambda path: read_idx(path, 3)),
    Reader(
        "data_batch_1",
        lambda path: python_batch(IMAGES.reshape(2, 12), [3, 7], ("a",)),
        lambda path: read_pickle(path, path.read_bytes()),
    ),
    Reader("stored.npz", arrays(np.savez), load),
    Reader("packed.npz", arrays(np.savez_compressed), load),
    *(Reader(f"a.{kind}", picture(kind), read_image) for kind in ("png", "gif", "bmp", "tiff")),
    Reader("header.png", picture("png"), measure),
    Reader("a.txt", lambda path: "süß und salzig\n".encode() * 60, load),
    Reader("w.safetensors", weights, gpudl.load),
    Reader("c.safetensors", checkpoint, load_state),
    Reader("new.pth", torch_weights(True), load_torch_state),
    Reader("old.pth", torch_weights(False), load_torch_state),
]
PIECES = st.binary(min_size=1, max_size=8) | st.sampled_from(
    [b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"99999999999", b"-1", b"true", b"("]
)
# Each change replaces some bytes, at a place counted from the beginning or the end.
CHANGES = st.lists(st.tuples(st.integers(-300, 300), st.integers(0, 8), PIECES), max_size=4)


def damaged(content, changes, end):
    content = bytearray(content)
    for place, width, piece in changes:
        start = place % len(content)
        content[start : start + width] = piece
    return bytes(content[: None if end is None else end % len(content)])


def check(reader, folder, changes, end):
    path = folder / reader.name
    if not path.with_suffix(".original").exists():
        content = reader.make(path)
        path.write_bytes(content)
        reader.read(path)  # the undamaged file is read
        path.with_suffix(".original").write_bytes(content)
    path.write_bytes(damaged(path.with_suffix(".original").read_bytes(), changes, end))
    try:
        reader.read(path)
    except (ValueError, OSError, TrainingError) as error:
        assert str(path) in str(error)  # noqa: PT017
        assert len(str(error)) < 1500  # noqa: PT017


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


ENDS = st.none() | st.integers(0, 5000)
EVERY = pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])


@EVERY
@settings(max_examples=60, deadline=None, print_blob=True)
@given(changes=CHANGES, end=ENDS)
def test_damage_gives_a_result_or_an_error_that_names_the_file(reader, folder, changes, end):
    check(reader, folder, changes, end)


@pytest.mark.slow
@EVERY
@settings(max_examples=300, deadline=None, print_blob=True)
@given(changes=CHANGES, end=ENDS)
def test_much_damage_gives_a_result_or_an_error_that_names_the_file(reader, folder, changes, end):
    check(reader, folder, changes, end)
