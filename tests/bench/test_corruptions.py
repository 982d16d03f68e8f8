"""The corruptions of the robustness report: the same bytes every time, and worse the more severe they are."""

import numpy as np
import pytest

from bench.report.corruptions import CORRUPTIONS, contrast, noise, pixelate, shift
from cifar_models.picture import Pixels
from export.golden import smooth_images


@pytest.fixture(scope="module")
def images() -> Pixels:
    return smooth_images(24)


@pytest.fixture(params=CORRUPTIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_same_images_get_the_same_bytes(images: Pixels, name: str) -> None:
    before = images.copy()
    for severity in CORRUPTIONS[name].severities:
        found = CORRUPTIONS[name].apply(images, severity)
        assert found.shape == images.shape
        assert found.dtype == np.uint8
        assert found.tobytes() == CORRUPTIONS[name].apply(images, severity).tobytes()
        assert found[:5].tobytes() == CORRUPTIONS[name].apply(images[:5], severity).tobytes()
    assert np.array_equal(images, before)


def test_every_severity_moves_the_pixels_further(images: Pixels, name: str) -> None:
    soft = images[:4]  # in finer detail, what is a little further off is not more different
    moved = [
        np.abs(CORRUPTIONS[name].apply(soft, severity) - soft.astype(float)).mean()
        for severity in CORRUPTIONS[name].severities
    ]
    assert moved == sorted(moved)
    assert moved[0] > 0


def test_noise_has_the_deviation_that_it_states() -> None:
    grey = np.full((50, 32, 32, 3), 128, np.uint8)
    found = noise(grey, 16).astype(float) - grey
    assert found.std() == pytest.approx(16, rel=0.01)
    assert found.mean() == pytest.approx(0, abs=0.2)


def test_contrast_keeps_the_mean_and_a_share_of_the_distance(images: Pixels) -> None:
    found = contrast(images, 0.35)
    assert found.mean((1, 2)) == pytest.approx(images.mean((1, 2)), abs=0.5)
    assert found.std((1, 2)) == pytest.approx(0.35 * images.std((1, 2)), abs=0.5)


def test_pixelate_leaves_squares_of_one_colour(images: Pixels) -> None:
    blocks = pixelate(images, 16).reshape(len(images), 16, 2, 16, 2, 3)
    assert np.array_equal(blocks.min((2, 4)), blocks.max((2, 4)))
    means = images.reshape(len(images), 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(blocks[:, :, 0, :, 0] - means).max() <= 1  # rounded along one axis, then along the other


def test_shift_moves_each_image_to_a_corner(images: Pixels) -> None:
    found, by = shift(images, 4), 4
    inner = {
        (top, left): (images[:, top : 28 + top, left : 28 + left], found[:, by - top : 32 - top, by - left : 32 - left])
        for top in (0, by)
        for left in (0, by)
    }
    matches = [[np.array_equal(old[i], new[i]) for old, new in inner.values()] for i in range(len(images))]
    assert all(any(row) for row in matches)
    assert np.any(matches, axis=0).all()  # every corner is somebody's
