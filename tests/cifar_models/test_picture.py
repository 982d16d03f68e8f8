"""Any picture becomes the pixels that a person would see: each rule of `to_pixels`, by pixel values."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifar_models.picture import Pixels, to_pixels

AS_SEEN: dict[int, Callable[[Pixels], Pixels]] = {  # EXIF orientation: from the stored pixels to the upright ones
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@pytest.mark.parametrize("file_format", ["PNG", "BMP"])
def test_an_rgb_picture_of_the_right_size_passes_through_bit_for_bit(file_format: str) -> None:
    stored = random_pixels()
    assert np.array_equal(to_pixels(reopened(Image.fromarray(stored), file_format)), stored)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
@pytest.mark.parametrize("size", [(32, 32), (1, 1), (7, 90), (300, 200)])
def test_every_kind_and_size_of_picture_gives_32_by_32_rgb_bytes(mode: str, size: tuple[int, int]) -> None:
    pixels = to_pixels(Image.new(mode, size))
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("orientation", AS_SEEN)
def test_exif_orientation_is_applied(orientation: int) -> None:
    stored = random_pixels()
    picture = reopened(Image.fromarray(stored), "PNG", exif=exif(orientation))
    assert np.array_equal(to_pixels(picture), AS_SEEN[orientation](stored))


def test_exif_orientation_of_a_jpeg_is_applied() -> None:
    stored = halves(left=RED, right=BLUE)
    pixels = to_pixels(reopened(Image.fromarray(stored), "JPEG", quality=95, exif=exif(6)))
    assert_close(pixels[:14], RED, atol=8)  # turned to the right, what was left is on top
    assert_close(pixels[18:], BLUE, atol=8)


def test_exif_orientation_keeps_a_palette_and_its_transparency() -> None:
    picture = Image.fromarray(halves(left=RED, right=BLUE)).quantize(2)
    transparent = picture.getpixel((0, 0))
    pixels = to_pixels(reopened(picture, "PNG", transparency=transparent, exif=exif(6)))
    assert_close(pixels[:16], WHITE)
    assert_close(pixels[16:], BLUE)


def test_alpha_is_laid_on_white() -> None:
    colours = random_pixels()
    alpha = np.random.default_rng(1).integers(0, 256, (32, 32, 1), dtype=np.uint8)
    alpha[:8], alpha[8:16] = 0, 255
    pixels = to_pixels(reopened(Image.fromarray(np.concatenate([colours, alpha], axis=2)), "PNG"))
    share = alpha / 255
    assert_close(pixels, colours * share + 255 * (1 - share), atol=1)
    assert_close(pixels[:8], WHITE)
    assert np.array_equal(pixels[8:16], colours[8:16])


def test_alpha_of_a_grey_picture_is_laid_on_white() -> None:
    grey_alpha = np.empty((32, 32, 2), np.uint8)
    grey_alpha[:16], grey_alpha[16:] = (100, 0), (100, 255)
    pixels = to_pixels(reopened(Image.fromarray(grey_alpha), "PNG"))
    assert_close(pixels[:16], WHITE)
    assert_close(pixels[16:], (100, 100, 100))


def test_a_grey_picture_has_three_equal_channels() -> None:
    stored = random_pixels()[:, :, 0]
    pixels = to_pixels(reopened(Image.fromarray(stored), "PNG"))
    assert np.array_equal(pixels, np.repeat(stored[:, :, None], 3, axis=2))


def test_a_palette_picture_has_the_colours_of_its_palette() -> None:
    stored = halves(left=(200, 10, 30), right=(7, 90, 250))
    assert np.array_equal(to_pixels(reopened(Image.fromarray(stored).quantize(2), "PNG")), stored)


@pytest.mark.parametrize(("alpha", "left"), [(0, WHITE), (128, (255, 127, 127)), (255, RED)])
def test_a_palette_may_be_transparent(alpha: int, left: tuple[int, ...]) -> None:
    picture = Image.fromarray(halves(left=RED, right=BLUE)).quantize(2)
    alphas = bytes(alpha if index == picture.getpixel((0, 0)) else 255 for index in range(2))
    pixels = to_pixels(reopened(picture, "PNG", transparency=alphas))
    assert_close(pixels[:, :16], left)
    assert_close(pixels[:, 16:], BLUE)


@pytest.mark.parametrize(("mode", "transparent", "other"), [("RGB", RED, BLUE), ("L", 80, 200)])
def test_a_transparent_colour_without_an_alpha_channel_becomes_white(mode: str, transparent: Any, other: Any) -> None:
    picture = Image.new(mode, (32, 32), other)
    picture.paste(transparent, (0, 0, 16, 32))
    pixels = to_pixels(reopened(picture, "PNG", transparency=transparent))
    assert_close(pixels[:, :16], WHITE)
    assert_close(pixels[:, 16:], other)


@pytest.mark.parametrize("ink", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)])
def test_cmyk_ink_takes_its_colour_from_white_paper(ink: tuple[int, int, int, int]) -> None:
    pixels = to_pixels(reopened(Image.new("CMYK", (32, 32), ink), "JPEG", quality=95))
    assert_close(pixels, 255 - np.array(ink[:3]) - ink[3], atol=4)


def test_a_16_bit_picture_keeps_its_shades() -> None:
    levels = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64
    levels[-1, -1] = 65535
    picture = reopened(Image.fromarray(levels), "PNG")
    assert picture.mode.startswith("I")  # Pillow did read it as more than 8 bits
    pixels = to_pixels(picture)
    assert_close(pixels, levels[:, :, None] / 257, atol=1)
    assert_close(pixels[0, 0], BLACK)
    assert_close(pixels[-1, -1], WHITE)


def test_a_1_bit_picture_is_black_and_white() -> None:
    stored = np.random.default_rng(0).integers(0, 2, (32, 32)).astype(bool)
    pixels = to_pixels(reopened(Image.fromarray(stored), "PNG"))
    assert np.array_equal(pixels, np.where(stored[:, :, None], WHITE, BLACK))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_picture_that_is_not_square_is_cropped_to_its_centred_square(axis: int) -> None:
    centre = random_pixels()
    before, after = np.full_like(centre, RED), np.full_like(centre, GREEN)
    picture = Image.fromarray(np.concatenate([before, centre, after], axis=axis))
    assert np.array_equal(to_pixels(picture), centre)


def test_a_large_picture_is_cropped_before_it_is_resized() -> None:
    picture = Image.new("RGB", (480, 160), RED)
    picture.paste(GREEN, (160, 0, 320, 160))
    pixels = to_pixels(picture)
    assert_close(pixels[:, 1:-1], GREEN)  # nothing is squeezed in from the sides


def test_a_fine_checkerboard_shrinks_to_grey() -> None:
    # Seven to one: without antialiasing every pixel of the result would be one of the board's own, black or white.
    row, column = np.indices((224, 224))
    board = ((row + column) % 2 * 255).astype(np.uint8)
    assert_close(to_pixels(Image.fromarray(board)), (127, 127, 127), atol=8)


def test_a_small_picture_is_enlarged_smoothly() -> None:
    pixels = to_pixels(Image.fromarray(halves(left=BLACK, right=WHITE)[::16, ::16])).astype(int)
    steps = np.diff(pixels, axis=1)
    assert pixels[0, 0, 0] == 0
    assert steps.sum(axis=1).max() == 255
    assert 0 <= steps.min() <= steps.max() < 32


def test_a_truncated_picture_is_an_error() -> None:
    whole = io.BytesIO()
    Image.fromarray(random_pixels()).save(whole, "PNG")
    picture = Image.open(io.BytesIO(whole.getvalue()[:1000]))
    with pytest.raises(OSError, match="truncated"):
        to_pixels(picture)


def random_pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def halves(*, left: tuple[int, ...], right: tuple[int, ...]) -> Pixels:
    pixels = np.empty((32, 32, 3), np.uint8)
    pixels[:, :16], pixels[:, 16:] = left, right
    return pixels


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def reopened(picture: Image.Image, file_format: str, **options: Any) -> Image.Image:
    """The picture as it comes out of a file of that format."""
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return Image.open(file)


def assert_close(pixels: Pixels, expected: Any, *, atol: float = 0) -> None:
    assert np.abs(pixels - np.asarray(expected, float)).max() <= atol
