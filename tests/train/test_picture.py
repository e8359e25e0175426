"""Image files of all kinds are adapted to the model's training images."""

from types import SimpleNamespace

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from gpudl.train import TrainingError  # noqa: E402
from gpudl.train.picture import read_picture, usual_extent  # noqa: E402


def config(shape=(1, 28, 28), extent=20 / 28):
    return SimpleNamespace(input_shape=shape, data=SimpleNamespace(extent=extent))


@pytest.fixture
def save(tmp_path):
    def write(pixels, name="a.png", mode=None):
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(tmp_path / name)
        return tmp_path / name

    return write


def letter(paper=235, ink=30, shape=(300, 400)):
    """A dark bar of 120 by 60 pixels on light paper, off centre."""
    pixels = np.full(shape, paper, np.uint8)
    pixels[40:160, 50:110] = ink
    return pixels


def test_an_image_of_the_right_size_is_unchanged(save):
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:9, 3:8] = 77
    picture = read_picture(save(pixels), config())
    np.testing.assert_array_equal(picture.seen, (pixels / np.float32(255))[None], strict=True)
    assert picture.assumptions == ()


def test_dark_ink_on_light_paper_is_swapped_cropped_and_centred(save):
    picture = read_picture(save(letter()), config())
    seen = picture.seen[0]
    assert "swapped" in picture.assumptions[0]
    assert "cropped" in picture.assumptions[1]
    assert "from 400x300 to 28x28" in picture.assumptions[2]
    rows, columns = np.flatnonzero(seen.max(1) > 0.5), np.flatnonzero(seen.max(0) > 0.5)
    assert len(rows) == pytest.approx(20, abs=1)
    assert len(columns) == pytest.approx(10, abs=1)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(13.5, abs=1)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(13.5, abs=1)
    assert seen[0, 0] == 0
    assert seen.max() == 1


def test_as_is_only_resizes(save):
    picture = read_picture(save(letter()), config(), as_is=True)
    assert picture.seen[0, 0, 0] == pytest.approx(235 / 255, abs=0.01)
    assert len(picture.assumptions) == 1


def test_an_empty_sheet_stays_empty(save):
    picture = read_picture(save(letter(ink=235)), config())
    assert picture.seen.max() < 0.1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1", "P", "I", "F"])
def test_all_kinds_of_pixels(save, mode, tmp_path):
    name = "a.tiff" if mode in ("I", "F") else "a.png"
    for shape in ((1, 28, 28), (3, 32, 32)):
        picture = read_picture(save(letter(), name, mode), config(shape, None))
        assert picture.seen.shape == shape
        assert picture.seen.dtype == np.float32
        assert 0 <= picture.seen.min() <= picture.seen.max() <= 1


def test_sixteen_bits_are_scaled(save):
    pixels = np.full((28, 28), 65535, np.uint16)
    pixels[:14] = 32768
    seen = read_picture(save(pixels), config(extent=None)).seen[0]
    assert seen[20, 5] == 1
    assert seen[3, 5] == pytest.approx(0.5, abs=0.01)


def test_refuses_other_files(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(TrainingError, match="does not exist"):
        read_picture(path, config())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 40)
    with pytest.raises(TrainingError, match=r"a\.png: is not a readable image"):
        read_picture(path, config())


def test_usual_extent():
    images = np.zeros((5, 1, 28, 28), np.uint8)
    images[:, :, 4:24, 8:20] = 200
    assert usual_extent(images) == pytest.approx(20 / 28)
    assert usual_extent(255 - images) is None
    assert usual_extent(np.repeat(images, 3, axis=1)) is None
