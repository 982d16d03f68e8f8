"""The transparent colour of a PNG (tRNS). Needs Pillow and no NumPy: the client, too, applies it."""

from PIL import Image

_GREY_STEPS = {"L;2": 85, "L;4": 17}  # between two of the 4 or 16 shades that a PNG of so many bits has


def scale_colour_key(picture: Image.Image) -> None:
    """Pillow scales a PNG's samples to 8 bits, and leaves its transparent colour in the file's own depth.

    Works in place, and before the picture is loaded: afterwards Pillow has forgotten the depth.
    """
    key = picture.info.get("transparency")
    if key is None or picture.format != "PNG" or not picture.tile:  # type: ignore[attr-defined]
        return
    depth = picture.tile[0].args  # type: ignore[attr-defined]
    if depth == "RGB;16B" and isinstance(key, tuple):
        picture.info["transparency"] = tuple(level >> 8 for level in key)
    elif depth in _GREY_STEPS and isinstance(key, int):
        picture.info["transparency"] = key * _GREY_STEPS[depth]
