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
    def is_exceeded(self) -> bool:
        return self._header > _MOST or self._idle > _MOST

    def receive(self, size: int) -> None:
        """Bytes that will be parsed."""
        self._idle += size

    def begin(self) -> None:
        """A request begins."""
        self.in_header = True
        self.body = self._header = self._idle = 0

    def add(self, size: int, lines: int = 0) -> None:
        """Bytes of a header, or of what follows a body. Raises ValueError, which ends the parsing, of too many."""
        self._header += size + lines * _LINE
        if self._header > _MOST:
            raise ValueError(TOO_LONG)

    def end(self) -> None:
        """The header has ended."""
        self.in_header = False
        self._idle = 0

    def add_to_body(self, size: int) -> None:
        self.body -= size
        self._idle = 0
