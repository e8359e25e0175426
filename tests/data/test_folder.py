"""A folder of images by class."""

import shutil
import struct
import sys
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from gpudl.data import ArrayDataset, DataError, Loader, load
from gpudl.data.folder import ImageFolder


def picture(path, value, size=(6, 4), mode="RGB"):
    """Writes a picture of one colour; size: (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (value, 0, 255 - value) if mode == "RGB" else value
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def animals(tmp_path):
    for number in range(5):
        picture(tmp_path / f"animals/dog/{number}.png", number)
        picture(tmp_path / f"animals/cat/more/{number}.png", 100 + number)
    (tmp_path / "animals/cat/notes.txt").write_text("no picture")
    return tmp_path / "animals"


def test_classes_and_pixels(animals):
    folder = ImageFolder(animals)
    assert folder.classes == ("cat", "dog")
    assert folder.labels.tolist() == [0] * 5 + [1] * 5
    assert folder.shape == (3, 4, 6)
    image, label = folder[9]
    assert image.dtype == np.uint8
    assert image[:, 0, 0].tolist() == [4, 0, 251]
    assert label == 1
    assert folder.images.shape == (10, 3, 4, 6)


def test_held_out_by_class(animals):
    train, test = load(animals, size=8)
    assert (len(train), len(test)) == (8, 2)
    assert test.labels.tolist() == [0, 1]
    assert train.shape == test.shape == (3, 8, 8)
    np.testing.assert_allclose(train.mean, train.images.mean((0, 2, 3)) / 255)
    assert test.mean == train.mean
    assert train.from_files
    assert not ArrayDataset(train.labels).from_files
    images, labels = next(iter(Loader(train, batch_size=8, num_workers=2)))
    assert images.shape == (8, 3, 8, 8)
    assert labels.tolist() == train.labels.tolist()


@pytest.mark.parametrize("name", ["test", "val"])
def test_two_parts(tmp_path, name):
    for part, classes in (("train", "ab"), (name, "b")):
        for label in classes:
            picture(tmp_path / part / label / "0.png", 1, mode="L")
    train, test = load(tmp_path)
    assert train.shape == test.shape == (1, 4, 6)
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [1]


def test_pictures_of_all_modes_take_the_shape_of_the_first(tmp_path):
    picture(tmp_path / "a/0.png", 7)
    picture(tmp_path / "a/1.jpg", 7, (60, 40))
    picture(tmp_path / "a/2.png", 7, (3, 2), "L")
    picture(tmp_path / "a/3.png", 1, (6, 4), "1")
    picture(tmp_path / "a/4.gif", 3, (6, 4), "P")
    assert ImageFolder(tmp_path).images.shape == (5, 3, 4, 6)
    assert ImageFolder(tmp_path, size=(2, 3), channels=1).images.shape == (5, 1, 2, 3)


def test_refuses(tmp_path, animals):
    with pytest.raises(DataError, match="has no images; put the images of each class"):
        load(animals / "dog")
    with pytest.raises(ValueError, match="expected positive sizes and 1 or 3 channels"):
        ImageFolder(animals, channels=2)
    picture(tmp_path / "p/train/a/0.png", 1)
    picture(tmp_path / "p/test/b/0.png", 1)
    with pytest.raises(DataError, match="has the class b, which the training part lacks"):
        load(tmp_path / "p")


def test_upright_and_on_white(tmp_path):
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.new("L", (16, 8), 77).save(tmp_path / "a/0.jpg", exif=exif)
    Image.new("RGBA", (8, 16), (0, 0, 0, 0)).save(tmp_path / "a/1.png")
    folder = ImageFolder(tmp_path)
    assert folder.shape == (1, 16, 8)
    assert folder.images[:, 0, 0, 0].tolist() == [77, 255]


def test_hidden_files_are_ignored_and_links_followed(animals, tmp_path):
    for name in (".ipynb_checkpoints/0.png", "._0.png", "__MACOSX/0.png", ".hidden.png"):
        picture(animals / "dog" / name, 1)
    picture(animals / "__MACOSX/dog/0.png", 1)
    picture(tmp_path / "elsewhere/9.png", 1)
    (animals / "dog/linked").symlink_to(tmp_path / "elsewhere")
    (animals / "dog/back").symlink_to(animals / "dog")
    (animals / "bird").symlink_to(tmp_path / "elsewhere")
    folder = ImageFolder(animals)
    assert folder.classes == ("bird", "cat", "dog")
    assert np.bincount(folder.labels).tolist() == [1, 5, 6]


def test_errors_name_broken_links_and_empty_classes(animals):
    (animals / "dog/9.png").symlink_to(animals / "nowhere")
    with pytest.raises(DataError, match=r"9\.png: cannot be read \(No such file"):
        ImageFolder(animals)[10]
    (animals / "bird").mkdir()
    with pytest.raises(DataError, match=r"bird: has no images; add some or remove the folder"):
        load(animals)


def test_validation_images_are_not_test_images(tmp_path):
    for part, value in (("train", 1), ("val", 2), ("test", 3)):
        picture(tmp_path / part / "a/0.png", value)
    train, test = load(tmp_path)
    assert (train.images[0, 0, 0, 0], test.images[0, 0, 0, 0]) == (1, 3)
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(DataError, match="has test but no train; add the training images"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", "cut"])
def test_damaged_pictures_raise_in_the_consumer(animals, content):
    path = animals / "dog/3.png"
    path.write_bytes(path.read_bytes()[:50] if content == "cut" else content)
    loader = Loader(ImageFolder(animals), batch_size=4)
    with pytest.raises(DataError, match=r"dog.3\.png: is (not a readable|a damaged) image|empty"):
        list(loader)


def test_refuses_too_many_pixels(animals, monkeypatch):
    monkeypatch.setattr("gpudl.data.image_file.MOST_PIXELS", 20)
    with pytest.raises(DataError, match="has 6x4 pixels"):
        load(animals)


def test_without_pillow(animals, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"needs Pillow; pip install 'gpudl\[train\]'"):
        load(animals)


def test_an_image_whose_exif_cannot_be_read(tmp_path):
    """Pillow looks for it behind the pixels, here in a PNG without any."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        content = b"\x89PNG\r\n\x1a\n"
        for chunk in (b"IHDR" + struct.pack(">2I5B", 7, 9, 16, 0, 0, 0, 0), b"IEND"):
            length, checksum = struct.pack(">I", len(chunk) - 4), struct.pack(">I", crc32(chunk))
            content += length + chunk + checksum
        (tmp_path / name / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a/1\.png: is a damaged image"):
        load(tmp_path)
