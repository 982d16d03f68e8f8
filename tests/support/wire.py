"""Requests written byte by byte to a socket: what a client library would never send."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from conftest import ServerProcess

PATIENCE = 30  # seconds after which a test gives a server up


@contextmanager
def connected(server: ServerProcess, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    address = urlsplit(server.url)
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    with connection:
        connection.settimeout(PATIENCE)
        connection.connect((address.hostname, address.port))
        yield connection


def post_head(length: int, content_type: str = "application/octet-stream") -> bytes:
    lines = (b"POST /classify HTTP/1.1", b"Host: here", b"Content-Type: %b" % content_type.encode())
    return b"\r\n".join((*lines, b"Content-Length: %d" % length, b"", b""))


@contextmanager
def sending(connection: socket.socket, data: bytes) -> Iterator[None]:
    """Send it meanwhile, however little the server reads of it."""

    def send() -> None:
        with suppress(OSError):  # the server has gone
            connection.sendall(data)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        thread.join()


def read_to_end(connection: socket.socket) -> bytes:
    """All that the server sends until it closes; a reset is a close too."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def dribble(connection: socket.socket, data: bytes, interval: float) -> bytes:
    """Send a byte whenever nothing came for `interval` seconds, until the server closes; what it has sent."""
    received = b""
    end = time.monotonic() + PATIENCE
    for number in range(10**6):
        assert time.monotonic() < end, "the server still listens"
        readable, _, _ = select.select([connection], [], [], interval)
        try:
            if not readable:
                connection.send(data[number % len(data)].to_bytes())
                continue
            answer = connection.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            return received
        if not answer:
            return received
        received += answer
    raise AssertionError


def wait_for_hangup(connection: socket.socket) -> None:
    """Return when the connection is dead, without reading what came over it."""
    assert hangs_up(connection, PATIENCE), "the server still holds the connection"


def hangs_up(connection: socket.socket, seconds: float) -> bool:
    """Whether the connection dies in this time."""
    poll = select.poll()
    poll.register(connection, 0)  # errors and hang-ups are reported always
    return bool(poll.poll(seconds * 1000))
