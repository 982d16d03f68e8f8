"""Requests that offer another protocol, as Java's client offers HTTP/2 with each: they stay HTTP/1.1, body and all.

A server may go on as if there were no offer (RFC 9110, section 7.8). httptools stops reading after the header instead,
so that the body would be lost, and every later request of the connection. So it is given the header again, without.
"""

from typing import Any

import httptools

_OFFER = (b"upgrade", b"connection")


class Parser(httptools.HttpRequestParser):
    """Parses for `protocol`, uvicorn's, which lets pass the header of a request that `should_upgrade`."""

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._protocol = protocol

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        """Raises what httptools does."""
        parser, rest = self, memoryview(data)
        while True:
            try:
                return super(Parser, parser).feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest, header = rest[upgrade.args[0] :], parser._without_offer()
                self._protocol.parser = parser = Parser(self._protocol)
                super(Parser, parser).feed_data(header)

    def _without_offer(self) -> bytes:
        headers = [header for header in self._protocol.headers if header[0] not in _OFFER]
        if not self.should_keep_alive():
            headers.append((b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        version = self.get_http_version().encode()
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.get_method(), self._protocol.url, version, lines)
