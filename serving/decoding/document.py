"""The JSON of a request, read image by image.

`json.loads` of a whole body would hold Python's lock, and with it every other request, for as long as it takes (0.3 s
for 16 MB of integers), and would make objects of up to twenty times the body's size (`[[],[],...]`). Here no step takes
more than `_LONGEST` characters at once, and an image of integers becomes its pixels before the next one is read.
"""

import re
from json import JSONDecodeError, JSONDecoder
from typing import Any

from cifar_models.picture import Pixels
from serving.decoding.pictures import decode_levels
from serving.errors import Refusal, TooLarge, Unacceptable, Unreadable

EXPECTED = 'The JSON must be an object with a list, {"images": [...]}.'

# Characters of one value that is no text: 3,072 integers, each on a line of its own with 70 blanks before it.
_LONGEST = 256 * 1024
_MARGIN = 64  # characters before a cut in which an error may be the cut's fault

_DECODER = JSONDecoder()
_BLANKS = re.compile(r"[ \t\n\r]*")

Image = str | Pixels | Refusal  # base64, pixels, or why it is none: the count of images is looked at first


class Document:
    """A cursor over a JSON text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def next_is(self, character: str) -> bool:
        """Step over blanks, and over `character` if it is what follows."""
        self._skip_blanks()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def expect(self, character: str) -> None:
        if not self.next_is(character):
            raise Unreadable(f"The body is not JSON: Expecting {character!r} at character {self._at}.")

    def value(self) -> Any:
        """The value here. Raises Unreadable, and Unacceptable for one that is too long to be of any use."""
        self._skip_blanks()
        is_text = self._text.startswith('"', self._at)
        text, start = (self._text, self._at) if is_text else (self._text[self._at : self._at + _LONGEST], 0)
        is_cut = not is_text and self._at + len(text) < len(self._text)
        try:
            value, end = _DECODER.raw_decode(text, start)
        except JSONDecodeError as error:
            if is_cut and (error.pos > len(text) - _MARGIN or "Unterminated" in error.msg):
                raise Unacceptable(f"A value has more than {_LONGEST} characters; pixels need fewer.") from error
            where = self._at + error.pos - start
            raise Unreadable(f"The body is not JSON: {error.msg} at character {where}.") from error
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"The body is not JSON: {error}.") from error
        self._at += end - start
        return value

    def end(self) -> None:
        self._skip_blanks()
        if self._at != len(self._text):
            raise Unreadable(f"The body is not JSON: Extra data at character {self._at}.")

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at


def read_document(body: bytes, *, max_images: int, options: set[str]) -> tuple[list[Image] | None, dict[str, Any]]:
    """The images of `{"images": [...], ...}`, None where there is no list of them, and its other members.

    Raises Unreadable for what is not JSON, TooLarge for more than `max_images`, and Unacceptable for another form. What
    follows a name that is not in `options` is not read.
    """
    try:
        document = Document(body.decode())
    except UnicodeDecodeError as error:
        raise Unreadable(f"The body is not JSON: it is not UTF-8 at byte {error.start}.") from error
    found = read_members(document, max_images, options)
    return found.pop("images", None), found


def read_members(document: Document, max_images: int, options: set[str]) -> dict[str, Any]:
    if not document.next_is("{"):
        document.value()  # it may not be JSON at all
        raise Unacceptable(EXPECTED)
    found: dict[str, Any] = {}
    more = not document.next_is("}")
    while more:
        name = read_name(document)
        if name in found:
            raise Unacceptable(f"{name!r} stands twice in the JSON object.")
        found[name] = read_images(document, max_images) if name == "images" else document.value()
        if name not in options | {"images"}:
            return found  # the caller refuses it, and more such names would only fill the memory
        more = document.next_is(",")
        if not more:
            document.expect("}")
    document.end()
    return found


def read_name(document: Document) -> str:
    name = document.value()
    if not isinstance(name, str):
        raise Unreadable("The body is not JSON: a name in an object is no text.")
    document.expect(":")
    return name


def read_images(document: Document, max_images: int) -> list[Image] | None:
    """The images of a list that stands here; None when something else does."""
    if not document.next_is("["):
        document.value()
        return None
    images: list[Image] = []
    more = not document.next_is("]")
    while more:
        if len(images) == max_images:
            raise TooLarge(f"The request holds more than {max_images} images.")
        images.append(read_image(document, len(images)))
        more = document.next_is(",")
        if not more:
            document.expect("]")
    return images


def read_image(document: Document, index: int) -> Image:
    try:
        value = document.value()
    except Unacceptable as refusal:
        raise Unacceptable(str(refusal), index=index) from refusal
    try:
        return decode_levels(value, index=index) if isinstance(value, list) else as_text(value, index)
    except Unacceptable as refusal:
        return refusal


def as_text(value: Any, index: int) -> str:
    if not isinstance(value, str):
        raise Unacceptable("An image in JSON is a base64 text or 32x32x3 integers.", index=index)
    return value
