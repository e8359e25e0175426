"""Transforms against results computed by hand, and by PyTorch if it is installed."""

import numpy as np
import pytest

from gpudl.data import transforms as T

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (6, 3, 5, 4), np.uint8)
FLOATS = RNG.random((6, 3, 5, 4), np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_to_float():
    values = T.to_float(BYTES)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, BYTES.astype(np.float32) / np.float32(255))
    assert T.to_float(FLOATS) is FLOATS


def test_normalize():
    mean, std = (0.1, 0.2, 0.3), (1.0, 2.0, 4.0)
    result = T.normalize(FLOATS, mean, std)
    for channel in range(3):
        np.testing.assert_allclose(
            result[:, channel],
            (FLOATS[:, channel] - mean[channel]) / std[channel],
            rtol=1e-5,
            atol=1e-6,
        )


def test_pad():
    padded = T.pad(BYTES, (1, 2), value=7)
    assert padded.shape == (6, 3, 7, 8)
    np.testing.assert_array_equal(padded[:, :, 1:-1, 2:-2], BYTES)
    padded[:, :, 1:-1, 2:-2] = 7
    assert (padded == 7).all()


def test_random_crop_takes_windows_at_every_position():
    image = np.arange(36, dtype=np.uint8).reshape(1, 1, 6, 6).repeat(400, 0)
    crops = T.random_crop(image, rng(), (4, 5))
    assert crops.shape == (400, 1, 4, 5)
    corner = crops[:, 0, 0, 0].astype(int)
    window = np.arange(4)[:, None] * 6 + np.arange(5)
    np.testing.assert_array_equal(crops[:, 0], corner[:, None, None] + window)
    assert set(corner.tolist()) == {0, 1, 6, 7, 12, 13}


def test_random_crop_with_padding_keeps_all_channels_together():
    images = np.stack([BYTES[:, 0]] * 3, axis=1)
    crops = T.random_crop(images, rng(), (5, 4), padding=2)
    np.testing.assert_array_equal(crops[:, 0], crops[:, 2])
    assert crops.shape == images.shape


def test_random_horizontal_flip():
    images = RNG.random((1000, 1, 2, 3), np.float32)
    flipped = T.random_horizontal_flip(images, rng(), p=0.25)
    mirrored = (flipped == images[..., ::-1]).all((1, 2, 3))
    same = (flipped == images).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 200 < mirrored.sum() < 300
    np.testing.assert_array_equal(T.random_horizontal_flip(images, rng(), p=1), images[..., ::-1])
    np.testing.assert_array_equal(T.random_horizontal_flip(images, rng(), p=0), images)


def test_resize_by_hand():
    row = np.array([[[[0, 4, 8]]]], np.float32)
    np.testing.assert_allclose(T.resize(row, (1, 6))[0, 0, 0], [0, 1, 3, 5, 7, 8])
    np.testing.assert_allclose(T.resize(row, (2, 1))[0, 0], [[4], [4]])
    np.testing.assert_array_equal(
        T.resize(np.array([[[[0, 5]]]], np.uint8), (1, 4)).ravel(), [0, 1, 4, 5]
    )
    assert T.resize(BYTES, 9).dtype == np.uint8
    np.testing.assert_array_equal(T.resize(BYTES, (5, 4)), BYTES)


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (3, 7), (5, 9), (2, 4), (17, 3)])
def test_resize_as_pytorch(size):
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(FLOATS), size=size, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(T.resize(FLOATS, size), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_compose_and_the_classes_do_what_the_functions_do():
    transform = T.Compose(
        [
            T.RandomCrop(5, padding=1, fill=3),
            T.RandomHorizontalFlip(0.4),
            T.Resize((6, 7)),
            T.Pad(1),
            T.ToFloat(),
            T.Normalize((0.1, 0.2, 0.3), (1, 2, 3)),
        ]
    )
    generator = rng(5)
    images = T.random_crop(BYTES, generator, 5, 1, 3)
    images = T.random_horizontal_flip(images, generator, 0.4)
    images = T.to_float(T.pad(T.resize(images, (6, 7)), 1))
    images = T.normalize(images, (0.1, 0.2, 0.3), (1, 2, 3))
    np.testing.assert_array_equal(transform(BYTES, rng(5)), images)
    assert "RandomCrop(size=5, padding=1, fill=3)" in repr(transform)


@pytest.mark.parametrize(
    "transform",
    [
        T.RandomCrop(5, 1),
        T.RandomHorizontalFlip(),
        T.Resize(3),
        T.Pad(1),
        T.ToFloat(),
    ],
)
@pytest.mark.parametrize("images", [BYTES, FLOATS, BYTES[:0], BYTES[:1]])
def test_never_changes_its_input(transform, images):
    before = images.copy()
    result = transform(images, rng())
    assert len(result) == len(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: T.normalize(BYTES, (0,) * 3, (1,) * 3), "normalize: images: uint8"),
        (lambda: T.normalize(FLOATS, (0,), (1,)), "expected 3 numbers each"),
        (lambda: T.normalize(FLOATS, (0,) * 3, (1, 0, 1)), "std above 0"),
        (lambda: T.to_float(FLOATS[0]), r"to_float: images: float32 of shape \(3, 5, 4\)"),
        (lambda: T.pad(BYTES, -1), "pad: padding: -1, expected one or two whole numbers from 0"),
        (lambda: T.random_crop(BYTES, rng(), 6), "random_crop: size: 6x6 is larger .* 5x4"),
        (lambda: T.resize(BYTES, (3, 0)), "resize: size"),
        (lambda: T.resize(BYTES, (3, 3, 3)), "resize: size"),
        (lambda: T.resize(BYTES[:, :, :0], 3), "have no pixels"),
        (lambda: T.resize(BYTES.astype(float), 3), "resize: images: float64"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
