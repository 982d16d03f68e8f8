"""How much a client sends that is no body: a header may have so many bytes, and no more may come that ends none."""

_MOST = 64 * 1024  # bytes of a request's header; a server in front of others usually takes 8 to 32 KB
_LINE = 32  # bytes that each line counts beside its own, as it costs more than those

TOO_LONG = f"The request's header has more than {_MOST} bytes."


class HeaderLimit:
    """Of one connection."""

    def __init__(self) -> None:
        self.in_header = False
        self.body = 0  # bytes that are left of a body whose length is known
        self._header = 0
        self._idle = 0  # bytes in a row that were no body and ended no header

    @property
    def is_header_too_long(self) -> bool:
        return self._header > _MOST

    def begin(self) -> None:
        """A request begins."""
        self.in_header = True
        self.body = self._header = self._idle = 0

    def add_to_header(self, size: int) -> None:
        """Raises ValueError, which ends the parsing, when it is too long."""
        self._header += size
        if self._header > _MOST:
            raise ValueError(TOO_LONG)

    def add_line(self, name: bytes, value: bytes) -> None:
        """Of a header, or of what follows a body. Raises ValueError as above."""
        self.add_to_header(len(name) + len(value) + _LINE)

    def end_header(self) -> None:
        self.in_header = False
        self._idle = 0

    def add_to_body(self, size: int) -> None:
        self.body -= size
        self._idle = 0

    def end_body(self) -> None:
        self._idle = 0

    def receive(self, size: int) -> None:
        """Bytes that will be parsed."""
        self._idle += size

    @property
    def is_idle_too_long(self) -> bool:
        """Whether what was parsed since a header or a piece of a body ended is too much."""
        return self._idle > _MOST
