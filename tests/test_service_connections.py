"""How many connections a server holds, and what becomes of one more."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest
from bodies import assert_right, pictures, post, raw
from conftest import ServerProcess, serving
from wire import connected, post_head, read_to_end

LIMIT = 4


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("narrow") / "log", max_connections=LIMIT, client_timeout=60) as server:
        server.wait_until_ready()
        yield server


def hold(stack: ExitStack, server: ServerProcess, count: int) -> list[socket.socket]:
    """So many connections that the server has begun to serve, each with a request whose end is owed."""
    held = [stack.enter_context(connected(server)) for _ in range(count)]
    for connection in held:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\nGET")
        assert_lives(connection)
    return held


def assert_lives(connection: socket.socket) -> None:
    answer = b""
    while not answer.endswith(b"\r\n\r\n\n"):  # the body is one line's end
        answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_request_over_one_connection_too_many_is_refused_and_those_before_it_are_not(narrow: ServerProcess) -> None:
    body = raw(pictures(2))
    with ExitStack() as stack:
        first, *_ = hold(stack, narrow, LIMIT)
        with connected(narrow) as connection:
            connection.sendall(post_head(len(body.content)) + body.content)
            head, _, content = read_to_end(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429")
        assert b"\r\nconnection: close" in head
        assert b"\r\nretry-after: 1\r\n" in head
        assert json.loads(content)["error"]["code"] == "busy"
        first.sendall(b" /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        assert_lives(first)
        with httpx.Client(base_url=narrow.url, timeout=30) as client:
            assert client.get("/livez").status_code == 200  # who watches the server is no client
    with httpx.Client(base_url=narrow.url, timeout=30, transport=httpx.HTTPTransport(retries=3)) as client:
        while (response := post(client, body)).status_code == 429:  # until the server has seen the others go
            pass
        assert_right(response, pictures(2))


def test_beyond_twice_as_many_a_connection_is_closed_at_once(narrow: ServerProcess) -> None:
    with ExitStack() as stack:
        for _ in range(2 * LIMIT):
            stack.enter_context(connected(narrow)).sendall(b"GET")
        # The reset may come before the client knows that it is connected.
        with suppress(ConnectionResetError), connected(narrow) as connection:
            assert read_to_end(connection) == b""


def test_an_answer_comes_in_one_piece(server: ServerProcess) -> None:
    """Head and body together: two would cost two calls of the system, and wake the client twice."""
    body = raw(pictures(1))
    with connected(server) as connection:
        for _ in range(20):  # one piece by chance is likely, twenty are not
            connection.sendall(post_head(len(body.content)) + body.content)
            head, _, content = connection.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert json.loads(content)["predictions"]


def test_an_answer_of_one_part_comes_too(server: ServerProcess) -> None:
    """Nothing follows what asks the client to go on."""
    body = raw(pictures(1))
    expecting = post_head(len(body.content)).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    with connected(server) as connection:
        connection.sendall(expecting)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body.content)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
