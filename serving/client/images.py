"""What can be classified, and the bytes as which it travels. Needs NumPy and Pillow only for what is theirs."""

import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from cifar_models.cifar10 import IMAGE_SHAPE, IMAGE_SIZE
from serving.client.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import PIL.Image

# A path, the bytes of an encoded picture, a Pillow picture, or pixels uint8 [32, 32, 3] or [n, 32, 32, 3] in RGB.
ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | PIL.Image.Image | npt.NDArray[np.uint8]"
ImagesLike: TypeAlias = "ImageLike | Iterable[ImageLike]"

_IMAGE_BYTES = IMAGE_SIZE * IMAGE_SIZE * 3
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
_OTHER_16_BITS = {"I;16B", "I;16L", "I;16N"}  # which Pillow clips at 255 when it makes RGB of them
_NEAREST_MODES = {"I": "I;16", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}  # RGB for all others


@dataclass(frozen=True, slots=True)
class Source:
    """One image that is to be sent."""

    name: str  # how an error calls it
    size: int  # bytes that it takes at most
    encode: Callable[[], bytes]  # an encoded picture
    pixels: memoryview | None = None  # uint8 [3072] where it is no encoded picture


def find_sources(images: Any) -> list[Source]:
    """One source for each image, in order; files are found and arrays checked, but nothing is read or encoded yet.

    Raises BadInput that names the first image that cannot be sent.
    """
    sources: list[Source] = []
    for image in as_list(images):
        sources += sources_of(image, len(sources))
    if not sources:
        raise BadInput(f"{type(images).__name__} holds no image; give at least one.")
    return sources


def as_list(images: Any) -> list[Any]:
    one = isinstance(images, str | bytes | os.PathLike | Mapping) or is_picture(images) or view(images) is not None
    if one or hasattr(images, "read") or not isinstance(images, Iterable):
        return [images]
    return list(images)


def sources_of(image: Any, index: int) -> Iterable[Source]:
    if isinstance(image, str | os.PathLike):
        return [file_source(Path(os.fsdecode(image)), index)]
    if isinstance(image, bytes | bytearray):
        return [Source(f"image {index}", len(image), partial(bytes, image))]
    if is_picture(image):
        name = f"image {index}"
        return [Source(name, 4 * image.width * image.height, partial(encode_picture, image, index))]
    pixels = view(image)
    if pixels is not None:
        return array_sources(image, pixels, index)
    raise BadInput(
        f"Image {index} is of type {type(image).__name__}; it must be a path, the bytes of an encoded picture, a "
        "Pillow picture or a NumPy array. Give the content of an open file, and tensor.numpy() of a tensor.",
        index=index,
    )


def is_picture(image: Any) -> "TypeGuard[PIL.Image.Image]":
    pillow = sys.modules.get("PIL.Image")  # whoever has such a picture has loaded Pillow
    return pillow is not None and isinstance(image, pillow.Image)


def view(image: Any) -> memoryview | None:
    """The memory of an array, whoever made it; None where there is none."""
    try:
        return memoryview(image)
    except (TypeError, ValueError, BufferError):
        return None


def file_source(path: Path, index: int) -> Source:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise unreadable(path, index, error) from error
    return Source(f"image {index} ({path})", size, partial(read_file, path, index))


def read_file(path: Path, index: int) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, index, error) from error


def unreadable(path: Path, index: int, error: Exception) -> BadInput:
    reason = error.strerror if isinstance(error, OSError) else error
    return BadInput(
        f"Image {index}, {str(path)!r}, cannot be read: {reason}. A text is taken for the path of a picture file; "
        "give a path that can be read, or the picture's bytes.",
        index=index,
    )


def array_sources(array: Any, pixels: memoryview, index: int) -> Iterator[Source]:
    """Of an array uint8 [32, 32, 3], one; of uint8 [n, 32, 32, 3], n."""
    shape = pixels.shape or ()
    if pixels.format != "B" or shape[-3:] != IMAGE_SHAPE or len(shape) > 4:
        dtype = getattr(array, "dtype", pixels.format)
        raise BadInput(
            f"Image {index} is an array of {dtype} with shape {list(shape)}; it must be uint8 0..255, RGB, with "
            f"shape {list(IMAGE_SHAPE)} or [n, 32, 32, 3]. Change it by astype and transpose; give a picture of "
            "another size as PIL.Image.fromarray(array), and the bytes of an encoded picture as bytes.",
            index=index,
        )
    if pixels.nbytes == 0:  # n is 0; what is empty cannot be cast
        return
    flat = pixels.cast("B") if pixels.c_contiguous else memoryview(pixels.tobytes())
    for offset in range(0, len(flat), _IMAGE_BYTES):
        part = flat[offset : offset + _IMAGE_BYTES]
        yield Source(f"image {index + offset // _IMAGE_BYTES}", _IMAGE_BYTES, partial(encode_pixels, part), part)


def encode_pixels(pixels: memoryview) -> bytes:
    """uint8 [3072] as PNG. Without Pillow, which those who send arrays may not have."""
    row = 3 * IMAGE_SIZE
    rows = b"".join(b"\0" + pixels[start : start + row] for start in range(0, len(pixels), row))  # 0: not filtered
    header = struct.pack(">IIBBBBB", IMAGE_SIZE, IMAGE_SIZE, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def encode_picture(picture: "PIL.Image.Image", index: int) -> bytes:
    """A Pillow picture as PNG, upright: a PNG would otherwise not hold the EXIF orientation."""
    from PIL import ImageOps

    from cifar_models.colour_key import scale_colour_key

    file = BytesIO()
    try:
        scale_colour_key(picture)
        picture = ImageOps.exif_transpose(picture)
        if picture.mode in _OTHER_16_BITS:
            picture = picture.convert("I")
        if picture.mode not in _PNG_MODES:
            picture = picture.convert(_NEAREST_MODES.get(picture.mode, "RGB"))
        picture.save(file, "PNG", compress_level=1, icc_profile=None)  # of which the server makes nothing
    except Exception as error:  # fed with damaged data Pillow raises nearly anything
        raise BadInput(
            f"Image {index}, {picture!r}, cannot be written as PNG: {error}. Check that picture.load() works.",
            index=index,
        ) from error
    return file.getvalue()
