"""multipart/form-data in memory: a body that is already bounded needs no temporary file."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.errors import TooLarge, Unreadable


@dataclass(slots=True)
class Part:
    """One field of a form."""

    name: str = ""
    data: bytearray = field(default_factory=bytearray)


class FormReader:
    """Collects the parts that python-multipart announces."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._max_parts = max_parts
        self._header_name = b""
        self._header_value = b""

    def on_part_begin(self) -> None:
        if len(self.parts) == self._max_parts:
            raise TooLarge(f"The form has more than {self._max_parts} fields.")
        self.parts.append(Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value)
            self.parts[-1].name = options.get(b"name", b"").decode("utf-8", "replace")
        self._header_name = self._header_value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data += data[start:end]

    def on_end(self) -> None:
        self.complete = True


def parse_form(body: bytes, content_type: str, *, max_parts: int) -> list[Part]:
    """The parts of a multipart/form-data body, in order. Raises Unreadable, or TooLarge for more than `max_parts`."""
    _, options = parse_options_header(content_type)
    reader = FormReader(max_parts)
    try:
        boundary = options[b"boundary"]
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.on_part_begin,
                "on_header_field": reader.on_header_field,
                "on_header_value": reader.on_header_value,
                "on_header_end": reader.on_header_end,
                "on_part_data": reader.on_part_data,
                "on_end": reader.on_end,
            },
        )
        parser.write(skip_preamble(body, boundary))
        parser.finalize()
    except KeyError as error:
        raise Unreadable("The Content-Type names no boundary: multipart/form-data; boundary=…") from error
    except FormParserError as error:
        raise Unreadable(f"The body is not valid multipart/form-data: {error}.") from error
    if not reader.complete:
        raise Unreadable("The form is cut off: its closing boundary is missing.")
    return reader.parts


def skip_preamble(body: bytes, boundary: bytes) -> bytes:
    """The body from its first boundary on; what may stand before it means nothing (RFC 2046, 5.1.1)."""
    delimiter = b"--" + boundary
    if body.startswith(delimiter):
        return body
    start = body.find(b"\r\n" + delimiter)
    return body if start < 0 else body[start + 2 :]
