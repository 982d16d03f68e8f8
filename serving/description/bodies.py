"""What POST /classify takes: one entry for each content type, with the limits of the running server."""

from typing import Any

from cifar_models.cifar10 import IMAGE_SIZE
from serving.decoding.media_types import FILE_FIELDS, FORM, JSON, PICTURES, RAW
from serving.decoding.pictures import IMAGE_BYTES
from serving.description.schemas import option_schemas
from serving.settings import Settings


def request_body(settings: Settings) -> dict[str, Any]:
    return {
        "required": True,
        "description": (
            f"The `Content-Type` says what the body is. It has at most {settings.max_bytes:,} bytes and "
            f"{settings.max_images:,} images; its encoded pictures have at most {settings.max_pixels:,} pixels "
            f"together, before they are resized. A picture that is not {IMAGE_SIZE}x{IMAGE_SIZE} is cropped to a "
            "centred square and resized. EXIF orientation is applied, alpha is laid on white; grey, palette, CMYK and "
            "16-bit pictures are converted to RGB."
        ),
        "content": {
            **{kind: {"schema": picture(settings)} for kind in PICTURES},
            # Nobody reads a type of a part: what a file is stands in the file. But generated clients want to send one.
            FORM: {"schema": form(settings), "encoding": {FILE_FIELDS[0]: {"contentType": ", ".join(PICTURES)}}},
            JSON: {"schema": json_object(settings)},
            RAW: {"schema": raw_pixels(settings)},
        },
    }


def picture(settings: Settings) -> dict[str, Any]:
    return {**binary(settings.max_bytes), "description": "One picture as it is in a file; of a GIF, the first frame."}


def raw_pixels(settings: Settings) -> dict[str, Any]:
    longest = min(settings.max_bytes, settings.max_images * IMAGE_BYTES)
    return {
        **binary(longest - longest % IMAGE_BYTES, at_least=IMAGE_BYTES),
        "description": (
            f"Raw pixels: uint8, NHWC (image by image, row by row, RGB), {IMAGE_BYTES:,} bytes an image. "
            "They are taken as they are."
        ),
    }


def form(settings: Settings) -> dict[str, Any]:
    files = {
        "type": "array",
        "items": binary(settings.max_bytes),
        "minItems": 1,
        "maxItems": settings.max_images,
        "description": "Files, one picture each; they are answered in their order.",
    }
    name, *others = FILE_FIELDS  # of which one will do: generated clients make nothing of a choice between fields
    return {
        "type": "object",
        "description": (
            f"A form with one or more files, each named `{name}` (or {', '.join(f'`{other}`' for other in others)}). "
            "Its other fields are the options, and stand over the query's."
        ),
        "properties": {name: files, **option_schemas()},
        "required": [name],
        "additionalProperties": False,
    }


def json_object(settings: Settings) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "The images, and beside them the options, which stand over the query's.",
        "properties": {
            "images": {
                "type": "array",
                "items": {"anyOf": [base64_picture(), levels()]},
                "minItems": 1,
                "maxItems": settings.max_images,
                "description": "Both kinds may be mixed.",
            },
            **option_schemas(),
        },
        "required": ["images"],
        "additionalProperties": False,
    }


def base64_picture() -> dict[str, Any]:
    return {
        "type": "string",
        "contentEncoding": "base64",
        "minLength": 1,
        "description": f"A picture as it is in a file ({', '.join(PICTURES)}), in base64.",
    }


def levels() -> dict[str, Any]:
    level = {"type": "integer", "minimum": 0, "maximum": 255}
    pixel = {"type": "array", "items": level, "minItems": 3, "maxItems": 3}
    row = {"type": "array", "items": pixel, "minItems": IMAGE_SIZE, "maxItems": IMAGE_SIZE}
    return {
        "type": "array",
        "items": row,
        "minItems": IMAGE_SIZE,
        "maxItems": IMAGE_SIZE,
        "description": f"{IMAGE_SIZE} rows of {IMAGE_SIZE} pixels of 3 integers, 0 to 255: red, green, blue.",
    }


def binary(at_most: int, *, at_least: int = 1) -> dict[str, Any]:
    # OpenAPI 3.1 needs no type for bytes, but most tools that read it still go by these two words.
    return {"type": "string", "format": "binary", "minLength": at_least, "maxLength": at_most}
