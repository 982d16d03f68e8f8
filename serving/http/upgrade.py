"""Requests that offer another protocol, as Java's client offers HTTP/2 with each: they stay HTTP/1.1, body and all.

A server may go on as if there were no offer (RFC 9110, section 7.8). httptools stops reading after the header instead,
so that the body would be lost, and every later request of the connection.
"""

from typing import Any

import httptools

_FRAMING = (b"content-length", b"transfer-encoding")


class Parser(httptools.HttpRequestParser):
    """Parses for `protocol`, uvicorn's, which takes no offer; calls back `target`."""

    def __init__(self, protocol: Any, target: Any = None) -> None:
        super().__init__(protocol if target is None else target)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._protocol = protocol

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        """Raises what httptools does."""
        parser, rest = self, memoryview(data)
        while True:
            try:
                return super(Parser, parser).feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                self._protocol.parser = parser = at_body(self._protocol)
                rest = rest[upgrade.args[0] :]


def at_body(protocol: Any) -> Parser:
    """A parser that goes on where another one stopped, after the header of `protocol`'s request."""
    following = Following(protocol)
    parser = Parser(protocol, following)
    headers = [header for header in protocol.headers if header[0] in _FRAMING]
    if not protocol.cycle.keep_alive:
        headers.append((b"connection", b"close"))
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    protocol.cycle.more_body = True
    super(Parser, parser).feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % lines)
    protocol.cycle.more_body = not following.complete
    following.silent = False
    return parser


class Following:
    """Tells the protocol what comes after a header that the protocol knows already."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self.silent = True
        self.complete = False  # the message: it has no body

    def __getattr__(self, name: str) -> Any:
        tell = getattr(self._protocol, name)

        def called(*values: bytes) -> None:
            if not self.silent:
                tell(*values)
            elif name == "on_message_complete":
                self.complete = True

        return called
