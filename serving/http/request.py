"""An HTTP request to the images and options that it asks for: the one module that reads requests."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from starlette.requests import ClientDisconnect, Request

from cifar_models.picture import Pixels
from serving.decoding.budget import HeldBody, HeldBytes
from serving.decoding.document import EXPECTED, read_document
from serving.decoding.media_types import FILE_FIELDS, FORM, JSON, MEDIA_TYPES, RAW
from serving.decoding.multipart import parse_form
from serving.decoding.options import Options, by_name, parse_options
from serving.decoding.pictures import (
    Allowance,
    Picture,
    check_size,
    decode_base64,
    decode_picture,
    decode_raw,
    look_at,
    open_picture,
    size_of,
)
from serving.errors import DeadlinePassed, Refusal, TooLarge, Unacceptable, UnsupportedType
from serving.http.threads import run
from serving.observing.trace import trace_of
from serving.settings import Settings

Source = bytes | str | Pixels | Refusal  # an encoded picture, base64 of one, pixels, or why it is none of these

_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-ms-bmp": "image/bmp"}

# Below these, parsing takes about as long as handing it to a thread would cost; above, it would hold other requests up:
# sixty kilobytes of the tiniest pictures for a tenth of a second. Raw pixels are only looked at.
_INLINE_BYTES = 8 * 1024
_INLINE_PIXELS = 256 * 256
_INLINE_PICTURES = 4
_LARGE_PIXELS = 1024 * 1024
_OPTIONS = set(Options.model_fields)


@dataclass(frozen=True, slots=True)
class Opened:
    """A request whose pictures are known by their headers alone."""

    images: list[Picture | Pixels] | Pixels  # Pixels uint8 [32, 32, 3] each, or [n, 32, 32, 3]
    options: Options
    pictures: int = 0  # that are encoded
    pixels: int = 0  # of these


class RequestReader:
    """Reads POST /classify. What would hold the event loop up is done in `threads`, large pictures in `large`.

    `large` should be one thread: a picture of 16 million pixels takes up to 200 MB while it is decoded, several at once
    take that several times, and the C library keeps a part of it for each thread.
    """

    def __init__(self, settings: Settings, threads: Executor, large: Executor) -> None:
        self._settings = settings
        self._threads = threads
        self._large = large
        limit = settings.held_bytes
        self._held = HeldBytes(limit, reserve=min(limit // 4, limit - settings.max_bytes))

    async def read(
        self,
        request: Request,
        *,
        deadline: float,
        arrived: Callable[[int], None],
        check: Callable[[Options], object],
    ) -> tuple[Pixels, Options]:
        """The images, uint8 [n, 32, 32, 3] with n >= 1, and the options of a request.

        Tells `arrived` how many images there are: one when the body is there, all when it has been parsed. `check` may
        raise a Refusal of the options, in whatever thread, before the images are looked at. Raises Unreadable,
        TooLarge, UnsupportedType, Unacceptable or Busy, and DeadlinePassed when it takes longer than until `deadline`,
        a time of the event loop's clock.
        """
        allowance = Allowance(deadline - asyncio.get_running_loop().time())
        # The first of a name counts. Starlette's headers are looked for one by one, in text made anew for each.
        headers = dict(reversed(request.scope["headers"]))
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
        if encoding.lower() != "identity":
            raise UnsupportedType(f"Content-Encoding is {encoding}; send the body as it is.")
        media_type = find_media_type(content_type)
        query = by_name(request.query_params.multi_items()) if request.scope["query_string"] else {}
        body = HeldBody(self._held)
        try:
            async with asyncio.timeout_at(deadline):
                await self._fill(body, request, headers.get(b"content-length", b"0"))
                arrived(1)
                threads = self._threads if body.size > _INLINE_BYTES and media_type != RAW else None
                opened = await run(threads, self._parse, media_type, body.join(), content_type, query, check, allowance)
                arrived(len(opened.images))
                return await run(self._decoder(opened, body.size), decode_all, opened, allowance), opened.options
        except TimeoutError:
            raise DeadlinePassed("The request did not arrive, or could not be decoded, before the deadline.") from None
        finally:
            body.give_back()

    async def read_pictures(self, pictures: Sequence[Image.Image], options: Options, *, deadline: float) -> Pixels:
        """The same of pictures in memory, under the same limits; they stay open."""
        allowance = Allowance(deadline - asyncio.get_running_loop().time())
        self._check_count(len(pictures))
        for index, picture in enumerate(pictures):
            check_size(picture, index=index, max_pixels=self._settings.max_pixels, strict=options.strict)
        self._check_pixels(pixels_of(pictures))
        # In the one thread, as Pillow must not read a picture that two callers share in two.
        return await run(self._large, look_at_all, pictures, allowance)

    def _decoder(self, opened: Opened, size: int) -> Executor | None:
        """The threads that decode the pictures of a body of `size` bytes; none where it is done at once."""
        pixels, pictures = opened.pixels, opened.pictures
        if pixels > _LARGE_PIXELS:
            return self._large
        if pictures and size > _INLINE_BYTES:  # which may be notes, that take longer than pixels
            return self._threads
        return self._threads if pixels > _INLINE_PIXELS or pictures > _INLINE_PICTURES else None

    async def _fill(self, body: HeldBody, request: Request, announced: bytes) -> None:
        limit, trace, more = self._settings.max_bytes, trace_of(request.scope), True
        if announced.isdigit() and int(announced) > limit:
            raise TooLarge(f"The body has {announced.decode()} bytes; at most {limit} are taken.")
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk, more = message.get("body", b""), message.get("more_body", False)
            if body.size + len(chunk) > limit:
                raise TooLarge(f"The body has more than {limit} bytes.")
            body.append(chunk)
            trace.size = body.size
        trace.received()

    def _parse(
        self,
        media_type: str,
        body: bytes,
        content_type: str,
        query: Mapping[str, str],
        check: Callable[[Options], object],
        allowance: Allowance,
    ) -> Opened:
        limit = self._settings.max_images
        sources: Sequence[Source] | None = [body]
        fields: Mapping[str, Any] = {}
        if media_type == FORM:
            parts = parse_form(body, content_type, max_parts=limit + len(_OPTIONS))
            sources = [part.data for part in parts if part.name in FILE_FIELDS]
            others = (part for part in parts if part.name not in FILE_FIELDS)
            fields = by_name((part.name, plain(part.data.decode("utf-8", "replace"))) for part in others)
        elif media_type == JSON:
            sources, fields = read_document(body, max_images=limit, options=_OPTIONS)
        options = parse_options(query, fields)
        check(options)
        if media_type == RAW:
            pixels = decode_raw(body)
            self._check_count(len(pixels))
            return Opened(pixels, options)
        if sources is None:
            raise Unacceptable(EXPECTED)
        return self._open(sources, options, allowance)

    def _open(self, sources: Sequence[Source], options: Options, allowance: Allowance) -> Opened:
        self._check_count(len(sources))
        images = [self._open_one(source, index, options, allowance) for index, source in enumerate(sources)]
        encoded = [image for image in images if not isinstance(image, np.ndarray)]
        pixels = pixels_of(encoded)
        self._check_pixels(pixels)
        return Opened(images, options, len(encoded), pixels)

    def _check_pixels(self, pixels: int) -> None:
        """Of all pictures together: small files may hold a lot of pixels, and many of them hold the memory up."""
        if pixels > self._settings.max_pixels:
            raise TooLarge(
                f"The request's pictures have {pixels} pixels together; at most {self._settings.max_pixels} are taken."
            )

    def _open_one(self, source: Source, index: int, options: Options, allowance: Allowance) -> Picture | Pixels:
        if isinstance(source, Refusal):
            raise source
        if isinstance(source, np.ndarray):
            return source
        data = decode_base64(source, index=index) if isinstance(source, str) else source
        picture = open_picture(data, index=index, max_pixels=self._settings.max_pixels, strict=options.strict)
        allowance.take(size_of(picture.info))
        return picture

    def _check_count(self, count: int) -> None:
        if count == 0:
            raise Unacceptable(f"The request holds no image; a form names its files {' or '.join(FILE_FIELDS)}.")
        if count > self._settings.max_images:
            raise TooLarge(f"The request holds {count} images; at most {self._settings.max_images} are taken.")


def find_media_type(content_type: str) -> str:
    """Raises UnsupportedType for what is not taken."""
    media_type = content_type.partition(";")[0].strip().lower()
    media_type = _ALIASES.get(media_type, media_type)
    if media_type not in MEDIA_TYPES:
        raise UnsupportedType(f"Content-Type is {media_type or 'missing'}; use one of: {', '.join(MEDIA_TYPES)}.")
    return media_type


def plain(text: str) -> str | None:
    """The value of a form's field. BentoML's client writes JSON: a text in quotes, and null for nothing."""
    if text == "null":
        return None
    if len(text) > 1 and text[0] == text[-1] == '"':
        with suppress(ValueError):
            return str(json.loads(text))
    return text


def pixels_of(pictures: Iterable[Picture]) -> int:
    return sum(width * height for width, height in (picture.size for picture in pictures))


def look_at_all(pictures: Sequence[Image.Image], allowance: Allowance) -> Pixels:
    """uint8 [n, 32, 32, 3] of pictures that stay open; raises Unreadable and DeadlinePassed."""
    seen = []
    for index, picture in enumerate(pictures):
        allowance.take(0)  # of texts: whoever made the picture holds them already
        seen.append(look_at(picture, index=index))
    return np.stack(seen)


def decode_all(opened: Opened, allowance: Allowance) -> Pixels:
    """uint8 [n, 32, 32, 3]; a picture is let go when it is decoded. Raises Unreadable, TooLarge and DeadlinePassed."""
    images = opened.images
    if isinstance(images, np.ndarray):
        return images
    decoded = []
    for index, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            picture, known = image, size_of(image.info)
            image = images[index] = decode_picture(picture, index=index)
            allowance.take(size_of(picture.info) - known)  # what stood behind the pixels
        decoded.append(image)
    return np.stack(decoded) if len(decoded) > 1 else decoded[0][None]
