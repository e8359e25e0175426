"""Image files of all kinds are adapted to the model's training images."""

from types import SimpleNamespace

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from gpudl.data.folder import ImageFolder  # noqa: E402
from gpudl.train import TrainingError  # noqa: E402
from gpudl.train.picture import framing, read_picture, usual_extent  # noqa: E402


def config(shape=(1, 28, 28), extent=20 / 28, stretched=False):
    data = SimpleNamespace(extent=extent, stretched=stretched)
    return SimpleNamespace(input_shape=shape, data=data)


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


def kinds_of_files(folder):
    """A folder with one class that contains images of every kind."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    grey, alpha = rgb.convert("L"), Image.fromarray(rng.integers(0, 256, (30, 40), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    wide = np.linspace(0, 65535, 1200).reshape(30, 40)
    files = {
        "grey.png": grey, "rgb.png": rgb, "bits.png": rgb.convert("1"), "16.png": wide,
        "16.tiff": wide, "unit.tiff": wide / 65535, "bytes.tiff": wide / 257,
        "palette.png": rgb.convert("P"), "gif.gif": rgb.convert("P"),
        "cmyk.jpg": rgb.convert("CMYK"), "la.png": Image.merge("LA", (grey, alpha)),
        "rgba.png": Image.merge("RGBA", (*rgb.split(), alpha)),
    }  # fmt: skip
    (folder / "a").mkdir()
    for name, image in files.items():
        if isinstance(image, np.ndarray):
            kind = np.float32 if name in ("unit.tiff", "bytes.tiff") else np.uint16
            image = Image.fromarray(image.astype(kind))
        image.save(folder / "a" / name)
    rgb.save(folder / "a/turned.jpg", exif=turned)
    grey.save(folder / "a/clear.png", transparency=7)
    return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_sees_the_pixels_that_it_was_trained_on(tmp_path, channels):
    part = ImageFolder(kinds_of_files(tmp_path), (12, 20), channels)
    assert framing(part) == {"extent": None, "stretched": True}
    for path, trained_on in zip(part.paths, part.images, strict=True):
        seen = read_picture(path, config(part.shape, **framing(part))).seen
        np.testing.assert_array_equal(seen, trained_on / np.float32(255), err_msg=path.name)


@pytest.mark.parametrize("name", ["16.png", "16.tiff", "unit.tiff", "bytes.tiff"])
def test_16_bit_and_float_values_are_scaled(tmp_path, name):
    seen = read_picture(kinds_of_files(tmp_path) / "a" / name, config((1, 30, 40), None)).seen[0]
    np.testing.assert_allclose(seen, np.linspace(0, 1, 1200).reshape(30, 40), atol=0.003)


@pytest.mark.parametrize("values", [(np.nan, 1), (-1, 5), (0, 1e9)])
def test_values_of_unknown_scale_are_rejected(save, values):
    pixels = np.resize(np.float32(values), (28, 28))
    with pytest.raises(TrainingError, match=r"a.tiff: is a damaged image .*expected 0 to 65535"):
        read_picture(save(pixels, "a.tiff"), config())


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


def test_a_large_image_is_reduced_before_its_ink_is_found(save):
    picture = read_picture(save(letter(shape=(3000, 9000))), config())
    assert max(picture.original.shape) == 1024
    assert picture.seen.max() > 0.5
    assert "it was resized from 9000x3000 to 28x28" in picture.assumptions


def test_refuses_a_strip_that_would_need_a_huge_canvas(save):
    with pytest.raises(TrainingError, match="20000x2 pixels are too long and narrow"):
        read_picture(save(np.zeros((2, 20000), np.uint8)), config(extent=None))
