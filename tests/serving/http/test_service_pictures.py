"""Every rule by which a picture becomes pixels holds over HTTP: the answer is that of the pixels a person would see."""

import io

import httpx
import numpy as np
import pytest
from bodies import Body, assert_right, base64, document, form, part, pictures, post
from encoded import GREY, RGB, exif, frames, png_file, run_length_bmp, saved
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cifar_models.picture import Pixels, to_pixels

SEEN = pictures(1)[0]
STORED = {  # EXIF orientation: how the upright picture lies in the file
    1: SEEN,
    2: np.fliplr(SEEN),
    3: np.rot90(SEEN, 2),
    4: np.flipud(SEEN),
    5: SEEN.swapaxes(0, 1),
    6: np.rot90(SEEN, 1),
    7: np.rot90(SEEN, 2).swapaxes(0, 1),
    8: np.rot90(SEEN, -1),
}


def assert_seen(client: httpx.Client, data: bytes, kind: str, expected: Pixels) -> None:
    """The same for the picture alone, in a form and in JSON."""
    alone = Body(data, f"image/{kind.lower()}")
    for body in (alone, form(part("images", data)), document([base64(data)])):
        assert_right(post(client, body), expected[None])


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_orientation_is_applied(client: httpx.Client, kind: str, orientation: int) -> None:
    picture = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    assert_seen(client, saved(picture, kind, exif=exif(orientation), lossless=True), kind, SEEN)


def test_what_stands_behind_a_jpeg_is_neither_scan_nor_note(client: httpx.Client) -> None:
    """As the short film behind a phone's photograph."""
    photograph = saved(Image.fromarray(SEEN), "JPEG", quality=95)
    film = b"\xff\xda\xff\xe1" * 1000
    assert_seen(client, photograph + film, "JPEG", to_pixels(Image.open(io.BytesIO(photograph))))


def test_a_jpeg_of_many_frames_is_refused_before_it_is_read(client: httpx.Client) -> None:
    """Of each header Pillow would keep thirty times its bytes, and the decoder refuse the second one."""
    header = b"\xff\xc0\x00\x0b\x08\x00\x20\x00\x20\x01\x01\x11\x00"
    photograph = saved(Image.fromarray(SEEN), "JPEG")
    response = post(client, Body(photograph[:2] + header * 21 + photograph[2:], "image/jpeg"))
    assert (response.status_code, response.json()["error"]["message"]) == (
        400,
        "The picture is a JPEG of more than 20 frames; save it anew.",
    )


def test_orientation_in_the_text_of_a_png_is_applied(client: httpx.Client) -> None:
    """As Adobe writes it, and among other texts; of several the first counts, as many would take long to read."""
    notes = PngInfo()
    notes.add_text("Comment", "no matter", zip=True)
    notes.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="6"/>', zip=True)
    notes.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="3"/>', zip=True)
    assert_seen(client, saved(Image.fromarray(np.ascontiguousarray(STORED[6])), pnginfo=notes), "PNG", SEEN)


def test_orientation_in_a_text_that_is_called_exif_is_applied(client: httpx.Client) -> None:
    notes = PngInfo()
    notes.add_text("exif", exif(6).tobytes().decode("latin-1"))
    assert_seen(client, saved(Image.fromarray(np.ascontiguousarray(STORED[6])), pnginfo=notes), "PNG", SEEN)


def test_a_small_bmp_in_run_lengths_is_taken(client: httpx.Client) -> None:
    assert_seen(client, run_length_bmp(32), "BMP", np.zeros((32, 32, 3), np.uint8))


def test_exif_orientation_of_a_jpeg_is_applied(client: httpx.Client) -> None:
    picture = Image.fromarray(np.ascontiguousarray(STORED[6]))
    stored = saved(picture, "JPEG", quality=95)
    turned = np.asarray(Image.open(io.BytesIO(stored)).transpose(Image.Transpose.ROTATE_270))
    assert_seen(client, saved(picture, "JPEG", quality=95, exif=exif(6)), "JPEG", turned)


def test_alpha_is_laid_on_white(client: httpx.Client) -> None:
    alpha = np.full((32, 32, 1), 255, np.uint8)
    alpha[:16] = 0
    expected = SEEN.copy()
    expected[:16] = 255
    assert_seen(client, saved(Image.fromarray(np.concatenate([SEEN, alpha], axis=2))), "PNG", expected)


def test_grey_with_and_without_alpha_has_three_equal_channels(client: httpx.Client) -> None:
    grey = SEEN[:, :, 1]
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    assert_seen(client, saved(Image.fromarray(grey)), "PNG", expected)
    half = np.where(np.arange(32)[:, None] < 16, 255, 0).astype(np.uint8) * np.ones((32, 32), np.uint8)
    expected = np.where(half[:, :, None] == 255, expected, 255).astype(np.uint8)
    assert_seen(client, saved(Image.fromarray(np.stack([grey, half], axis=2))), "PNG", expected)


def test_a_palette_is_looked_up(client: httpx.Client) -> None:
    palette = Image.fromarray(SEEN).quantize(16)
    assert_seen(client, saved(palette), "PNG", np.asarray(palette.convert("RGB")))


def test_the_transparent_colours_of_a_palette_become_white(client: httpx.Client) -> None:
    palette = Image.fromarray(SEEN).quantize(16)
    index = int(np.asarray(palette)[0, 0])
    expected = np.where((np.asarray(palette) == index)[:, :, None], 255, np.asarray(palette.convert("RGB")))
    assert (expected == 255).any()
    assert_seen(client, saved(palette, transparency=index), "PNG", expected.astype(np.uint8))
    alphas = bytes(0 if entry == index else 255 for entry in range(16))
    assert_seen(client, saved(palette, transparency=alphas), "PNG", expected.astype(np.uint8))


def test_cmyk_is_converted(client: httpx.Client) -> None:
    data = saved(Image.fromarray(SEEN).convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "CMYK"
        expected = np.asarray(picture.convert("RGB"))
    assert np.abs(expected.astype(int) - SEEN).mean() < 8  # it is the picture still
    assert_seen(client, data, "JPEG", expected)


def test_16_bit_grey_keeps_its_shades(client: httpx.Client) -> None:
    grey = SEEN[:, :, 1]
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    assert_seen(client, png_file(grey.astype(np.uint16) * 257, GREY, 16), "PNG", expected)


def test_16_bit_colours_keep_their_shades(client: httpx.Client) -> None:
    assert_seen(client, png_file(SEEN.astype(np.uint16) * 257, RGB, 16), "PNG", SEEN)


def keyed(key: tuple[int, ...]) -> tuple[Pixels, Pixels]:
    """SEEN with that colour in its left half, and how it is seen when the colour is transparent."""
    stored, expected = SEEN.copy(), SEEN.copy()
    stored[:, :16], expected[:, :16] = key, 255
    return stored, expected


def test_the_transparent_colour_of_8_bit_pictures_becomes_white(client: httpx.Client) -> None:
    stored, expected = keyed((1, 200, 3))
    assert_seen(client, png_file(stored, RGB, 8, (1, 200, 3)), "PNG", expected)


def test_the_transparent_colour_of_16_bit_colours_becomes_white(client: httpx.Client) -> None:
    stored, expected = keyed((1, 200, 3))
    wide = stored.astype(np.uint16) * 257
    assert_seen(client, png_file(wide, RGB, 16, (1 * 257, 200 * 257, 3 * 257)), "PNG", expected)


def test_the_transparent_shade_of_16_bit_grey_becomes_white(client: httpx.Client) -> None:
    stored, expected = keyed((7, 7, 7))
    grey = np.repeat(stored[:, :, 1:2], 3, axis=2)
    expected = np.where((grey == 7), 255, grey).astype(np.uint8)
    assert_seen(client, png_file(grey[:, :, 0].astype(np.uint16) * 257, GREY, 16, (7 * 257,)), "PNG", expected)


def test_the_transparent_shade_of_4_bit_grey_becomes_white(client: httpx.Client) -> None:
    grey = SEEN[:, :, 1] >> 4
    grey[:, :16] = 5
    expected = np.repeat(np.where(grey == 5, 255, grey * 17)[:, :, None], 3, axis=2).astype(np.uint8)
    assert_seen(client, png_file(grey, GREY, 4, (5,)), "PNG", expected)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_only_the_first_frame_of_an_animation_is_seen(client: httpx.Client, kind: str) -> None:
    data = frames(SEEN, kind)
    with Image.open(io.BytesIO(data)) as picture:
        assert getattr(picture, "n_frames", 1) == 2
    assert_seen(client, data, kind, SEEN)


def test_only_the_first_frame_of_a_gif_is_seen(client: httpx.Client) -> None:
    first = Image.fromarray(SEEN).quantize(64)
    second = Image.fromarray(255 - SEEN).quantize(64)
    data = saved(first, "GIF", save_all=True, append_images=[second])
    assert_seen(client, data, "GIF", np.asarray(first.convert("RGB")))


def test_a_gif_with_transparency_is_laid_on_white(client: httpx.Client) -> None:
    palette = Image.fromarray(SEEN).quantize(16)
    index = int(np.asarray(palette)[0, 0])
    expected = np.where((np.asarray(palette) == index)[:, :, None], 255, np.asarray(palette.convert("RGB")))
    assert_seen(client, saved(palette, "GIF", transparency=index), "GIF", expected.astype(np.uint8))


@pytest.mark.parametrize("axis", [0, 1])
def test_the_centred_square_of_a_longer_picture_is_seen(client: httpx.Client, axis: int) -> None:
    longer = np.concatenate([255 - SEEN, SEEN, 255 - SEEN], axis=axis)
    assert_seen(client, saved(Image.fromarray(longer)), "PNG", SEEN)


def test_one_pixel_becomes_a_plain_picture(client: httpx.Client) -> None:
    expected = np.full((32, 32, 3), (7, 90, 250), np.uint8)
    assert_seen(client, saved(Image.new("RGB", (1, 1), (7, 90, 250))), "PNG", expected)


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (60_000, 2)])
def test_a_very_long_picture_shows_its_middle(client: httpx.Client, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (255, 0, 0))
    middle = tuple(side // 2 for side in size)
    picture.paste((7, 90, 250), (max(0, middle[0] - 5), max(0, middle[1] - 5), middle[0] + 5, middle[1] + 5))
    expected = np.full((32, 32, 3), (7, 90, 250), np.uint8)
    assert_seen(client, saved(picture), "PNG", expected)


def test_a_large_transparent_picture_is_laid_on_white(client: httpx.Client) -> None:
    picture = Image.new("RGBA", (1500, 1500), (200, 10, 30, 0))  # converted in strips
    picture.paste((7, 90, 250, 128), (0, 0, 1500, 750))
    pixels = to_pixels(picture)
    assert np.abs(pixels[:15].astype(int) - (131, 172, 252)).max() <= 1
    assert (pixels[17:] == 255).all()
    assert_seen(client, saved(picture), "PNG", pixels)
