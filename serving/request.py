"""An HTTP request to the images and options that it asks for: the one module that reads requests."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from cifar_models.picture import Pixels
from serving.decode import decode_base64, decode_levels, decode_picture, decode_raw, open_picture
from serving.errors import DeadlinePassed, TooLarge, Unacceptable, Unreadable, UnsupportedType
from serving.multipart import parse_form
from serving.settings import Settings
from serving.trace import trace_of

T = TypeVar("T")

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif")
FORM, JSON, RAW = "multipart/form-data", "application/json", "application/octet-stream"

_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-ms-bmp": "image/bmp"}
FILE_FIELDS = ("images", "image")

# Below these, parsing takes about as long as handing it to a thread would cost; above, it would hold other requests up.
_INLINE_BYTES = 64 * 1024
_INLINE_PIXELS = 256 * 256


class Options(BaseModel):
    """What a request may ask for, in its query, its form fields or its JSON object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, description="Name of a bundle; the server's default one if absent")
    top_k: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Only the probabilities of this many labels, best first; of all labels if absent"
    )
    strict: bool = Field(default=False, description="Refuse pictures that are not 32x32; else they are resized")


@dataclass(frozen=True, slots=True)
class Opened:
    """A request whose pictures are known by their headers alone."""

    images: Sequence[Image.Image | Pixels] | Pixels  # Pixels uint8 [32, 32, 3] each, or [n, 32, 32, 3]
    options: Options

    @property
    def encoded_pixels(self) -> int:
        return sum(image.width * image.height for image in self.images if isinstance(image, Image.Image))


class RequestReader:
    """Reads POST /classify. What would hold the event loop up is done in `threads`."""

    def __init__(self, settings: Settings, threads: Executor) -> None:
        self._settings = settings
        self._threads = threads

    async def read(self, request: Request, *, deadline: float) -> tuple[Pixels, Options]:
        """The images, uint8 [n, 32, 32, 3] with n >= 1, and the options of a request.

        Raises Unreadable, TooLarge, UnsupportedType or Unacceptable, and DeadlinePassed when it takes longer than until
        `deadline`, a time of the event loop's clock.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await self._read(request)
        except TimeoutError:
            raise DeadlinePassed("The request did not arrive, or could not be decoded, before the deadline.") from None

    async def _read(self, request: Request) -> tuple[Pixels, Options]:
        content_type = request.headers.get("content-type", "")
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise UnsupportedType(f"Content-Encoding is {encoding}; send the body as it is.")
        parse = self._parser(content_type)
        body = await self.read_body(request)
        opened = await self._run(len(body) > _INLINE_BYTES, parse, body, content_type, request.query_params)
        images = await self._run(opened.encoded_pixels > _INLINE_PIXELS, decode_all, opened.images)
        return images, opened.options

    async def read_body(self, request: Request) -> bytes:
        limit = self._settings.max_bytes
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            raise TooLarge(f"The body has {announced} bytes; at most {limit} are taken.")
        trace = trace_of(request.scope)
        chunks: list[bytes] = []
        async for chunk in request.stream():
            chunks.append(chunk)
            trace.size += len(chunk)
            if trace.size > limit:
                raise TooLarge(f"The body has more than {limit} bytes.")
        trace.received()
        return b"".join(chunks)

    async def _run(self, long: bool, function: Callable[..., T], *args: object) -> T:
        if not long:
            return function(*args)
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _parser(self, content_type: str) -> Callable[[bytes, str, Mapping[str, str]], Opened]:
        media_type = content_type.partition(";")[0].strip().lower()
        if _ALIASES.get(media_type, media_type) in PICTURES:
            return self._parse_picture
        parsers = {FORM: self._parse_form, JSON: self._parse_json, RAW: self._parse_raw}
        if media_type not in parsers:
            known = ", ".join((*PICTURES, *parsers))
            raise UnsupportedType(f"Content-Type is {media_type or 'missing'}; use one of: {known}.")
        return parsers[media_type]

    def _parse_picture(self, body: bytes, content_type: str, query: Mapping[str, str]) -> Opened:
        return self._open([body], parse_options(query))

    def _parse_raw(self, body: bytes, content_type: str, query: Mapping[str, str]) -> Opened:
        images = decode_raw(body)
        self._check_count(len(images))
        return Opened(images, parse_options(query))

    def _parse_form(self, body: bytes, content_type: str, query: Mapping[str, str]) -> Opened:
        parts = parse_form(body, content_type, max_parts=self._settings.max_images + len(Options.model_fields))
        fields = {part.name: part.data.decode("utf-8", "replace") for part in parts if part.name not in FILE_FIELDS}
        options = parse_options(query, fields)
        return self._open([bytes(part.data) for part in parts if part.name in FILE_FIELDS], options)

    def _parse_json(self, body: bytes, content_type: str, query: Mapping[str, str]) -> Opened:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"The body is not JSON: {error}.") from error
        if not isinstance(document, dict) or not isinstance(document.get("images"), list):
            raise Unacceptable('The JSON must be an object with a list, {"images": [...]}.')
        return self._open(document.pop("images"), parse_options(query, document))

    def _open(self, sources: Sequence[Any], options: Options) -> Opened:
        self._check_count(len(sources))
        opened = Opened([self._open_one(source, index, options) for index, source in enumerate(sources)], options)
        # Of all pictures together: small files may hold a lot of pixels, and many of them hold the memory up.
        if opened.encoded_pixels > self._settings.max_pixels:
            raise TooLarge(
                f"The request's pictures have {opened.encoded_pixels} pixels together; "
                f"at most {self._settings.max_pixels} are taken."
            )
        return opened

    def _open_one(self, source: Any, index: int, options: Options) -> Image.Image | Pixels:
        if isinstance(source, list):
            return decode_levels(source, index=index)
        if isinstance(source, str):
            source = decode_base64(source, index=index)
        if not isinstance(source, bytes):
            raise Unacceptable("An image in JSON is a base64 text or 32x32x3 integers.", index=index)
        return open_picture(source, index=index, max_pixels=self._settings.max_pixels, strict=options.strict)

    def _check_count(self, count: int) -> None:
        if count == 0:
            raise Unacceptable(f"The request holds no image; a form names its files {' or '.join(FILE_FIELDS)}.")
        if count > self._settings.max_images:
            raise TooLarge(f"The request holds {count} images; at most {self._settings.max_images} are taken.")


def decode_all(images: Sequence[Image.Image | Pixels] | Pixels) -> Pixels:
    """uint8 [n, 32, 32, 3]; raises Unreadable."""
    if isinstance(images, np.ndarray):
        return images
    return np.stack(
        [
            decode_picture(image, index=index) if isinstance(image, Image.Image) else image
            for index, image in enumerate(images)
        ]
    )


def parse_options(query: Mapping[str, str], fields: Mapping[str, Any] | None = None) -> Options:
    """Options of the query and, over them, of the body. Raises Unacceptable that names the option at fault."""
    if not query and not fields:
        return _DEFAULTS
    try:
        return Options.model_validate({**query, **(fields or {})})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = next(iter(first["loc"]), "an option's name")
        if first["type"] == "extra_forbidden":
            known = ", ".join(Options.model_fields)
            raise Unacceptable(f"{name!r} is no option. There are: {known}; files are named images.") from error
        raise Unacceptable(f"{name}={first['input']!r} cannot be used: {first['msg']}.") from error


_DEFAULTS = Options()
