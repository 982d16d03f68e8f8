"""How many connections a server holds, and what becomes of one more."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise

import httpx
import pytest
from bodies import assert_right, pictures, post, raw
from conftest import ServerProcess, serving
from wire import connected, post_head, read_to_end, sending

from serving.decoding.media_types import RAW

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


@pytest.mark.parametrize(
    "begun", [b"GET / HTTP/1.1\r\nX: ", b"no HTTP\r\n"], ids=["a header without an end", "no HTTP"]
)
def test_who_is_told_that_it_cannot_be_read_reads_it_whatever_it_still_sends(
    server: ServerProcess, begun: bytes
) -> None:
    with connected(server) as connection:
        connection.sendall(begun + b"a" * (8 << 20))  # all of it, before anything is read: no reset ends it
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received.startswith(b"HTTP/1.1 400")
    assert received.endswith(b"}}")


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


def test_requests_that_come_together_are_answered_wherever_they_are_cut(server: ServerProcess) -> None:
    body = raw(pictures(1))
    request = post_head(len(body.content)) + body.content
    stream = 60 * request
    cuts = [0, len(request) + 20, 50 * len(request) + 20, len(stream)]  # each but the last in the middle of a header
    with connected(server) as connection:
        for start, end in pairwise(cuts):
            connection.sendall(stream[start:end])
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 60 or not answers.endswith(b"}"):
            received = connection.recv(65536)
            assert received, answers[-500:]
            answers += received
    assert answers.count(b"HTTP/1.1 200") == 60


@pytest.mark.parametrize(
    "wrong",
    [
        b"nonsense\r\n\r\n",
        b"POST /classify HTTP/1.1\r\nContent-Length: some\r\n\r\n",
        b"POST /classify HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
        b"CONNECT /classify HTTP/1.1\r\nHost: here\r\n\r\n",
    ],
)
def test_what_came_before_what_is_no_http_is_answered_first(server: ServerProcess, wrong: bytes) -> None:
    body = raw(pictures(1))
    with connected(server) as connection:
        connection.sendall(4 * (post_head(len(body.content)) + body.content) + wrong)
        answers = read_to_end(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200"] * 4 + [b"400"]


def test_what_stands_behind_a_body_is_no_header(server: ServerProcess) -> None:
    body = raw(pictures(1))
    head = post_head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    content = b"%x\r\n%b\r\n0\r\nX-Request-ID: behind\r\n\r\n" % (len(body.content), body.content)
    with connected(server) as connection:
        connection.sendall(head + content)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"behind" not in answer


OFFERS = {
    "Java's HttpClient": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n",
    "TLS": b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
}
ASK = b"GET /livez HTTP/1.1\r\nHost: here\r\n"


@pytest.mark.parametrize("pieces", [1, 2, 100])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
def test_who_offers_another_protocol_is_answered_in_this_one(
    server: ServerProcess, offer: bytes, chunked: bool, pieces: int
) -> None:
    body = raw(pictures(2)).content
    head = b"POST /classify HTTP/1.1\r\nHost: here\r\nContent-Type: application/octet-stream\r\n" + offer
    framed = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    if chunked:
        framed = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    sent = ASK + offer + b"\r\n" + head + framed + ASK + b"Connection: close\r\n\r\n"
    size = -(-len(sent) // pieces)
    with connected(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), size):
            connection.sendall(sent[start : start + size])
        answers = read_to_end(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b"HTTP/1.1 ") == 3
    found = json.loads(answers[answers.index(b"{") : answers.rindex(b"}") + 1])
    assert len(found["predictions"]) == 2


def test_many_offers_in_one_piece_are_each_declined(server: ServerProcess) -> None:
    count = 2000
    with connected(server) as connection:
        connection.sendall((ASK + OFFERS["TLS"] + b"\r\n") * count + ASK + b"Connection: close\r\n\r\n")
        assert read_to_end(connection).count(b"HTTP/1.1 200 OK") == count + 1


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_nothing_follows_the_last_request_of_a_connection_that_made_an_offer(
    server: ServerProcess, version: bytes
) -> None:
    body = raw(pictures(1)).content
    head = post_head(len(body)).replace(b"HTTP/1.1", b"HTTP/" + version)
    offer = OFFERS["TLS"].replace(b"upgrade\r\n", b"upgrade, close\r\n")
    with connected(server) as connection:
        connection.sendall(head.removesuffix(b"\r\n") + offer + b"\r\n" + body + b"GARBAGE\r\n" + ASK + b"\r\n")
        answers = read_to_end(connection)
    assert answers.startswith(b"HTTP/1.1 200 OK")
    assert answers.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 3072\r\nContent-Length: 3073\r\n",
        b"Content-Length: 3072\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ],
)
@pytest.mark.parametrize("asked", [b"POST /classify", b"GET /models"])
def test_an_offer_makes_no_length_right_that_is_wrong(server: ServerProcess, asked: bytes, framing: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(asked + b" HTTP/1.1\r\nHost: here\r\n" + OFFERS["TLS"] + framing + b"\r\n" + bytes(3072))
        answers = read_to_end(connection)
    assert answers.startswith(b"HTTP/1.1 400")
    assert answers.count(b"HTTP/1.1 ") == 1


CHUNKED = b" HTTP/1.1\r\nHost: here\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("asked", [b"POST /classify", b"GET /livez", b"GET /models"])
def test_a_request_whose_body_breaks_off_after_its_answer_has_no_second_one(
    server: ServerProcess, asked: bytes
) -> None:
    """Who reads two would take the second one for that of the next request."""
    with connected(server) as connection:
        connection.sendall(asked + CHUNKED)
        answers = connection.recv(65536)
        connection.sendall(b"no chunk\r\n")
        answers += read_to_end(connection)
    assert answers.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("wrong", [b"nonsense\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n"])
def test_what_is_no_http_is_told_after_a_body_that_nobody_wanted(server: ServerProcess, wrong: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(post_head(1, "text/plain"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 415")
        connection.sendall(b"x" + wrong)
        assert read_to_end(connection).startswith(b"HTTP/1.1 400")


EXPECT = b"\r\nExpect: 100-continue\r\n\r\n"


def test_who_is_refused_before_it_sends_its_body_asks_over_another_connection(server: ServerProcess) -> None:
    """It may send the body, or the next request: nobody could tell one from the other."""
    with connected(server) as connection:
        connection.sendall(post_head(3072, "text/plain").replace(b"\r\n\r\n", EXPECT))
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 415")
    assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize(
    "asked", [ASK.removesuffix(b"\r\n") + EXPECT, post_head(9, "text/plain").strip() + EXPECT + bytes(9)]
)
def test_who_has_sent_its_body_is_answered_over_the_same_connection(server: ServerProcess, asked: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(asked + ASK + b"Connection: close\r\n\r\n")
        answers = read_to_end(connection)
    assert answers.count(b"HTTP/1.1 ") == 2
    assert answers.count(b"connection: close") == 1


def test_who_speaks_http_1_0_is_not_told_to_continue(server: ServerProcess, client: httpx.Client) -> None:
    """It would take that for its answer."""
    head = post_head(3072, RAW).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"\r\n\r\n", EXPECT)
    with connected(server) as connection:
        connection.sendall(head)
        assert client.get("/livez").status_code == 200  # by when its header has been read
        connection.sendall(bytes(3072))
        assert read_to_end(connection).count(b"HTTP/1.1 ") == 1


LONG = b"GET /docs.json HTTP/1.1\r\nHost: here\r\n"


def test_who_sends_on_after_its_last_request_reads_all_answers(server: ServerProcess) -> None:
    sent = (LONG + b"\r\n") * 20 + ASK + b"Connection: close\r\n\r\n" + (ASK + b"\r\n") * 200_000
    with connected(server, receive_buffer=4096) as connection, sending(connection, sent):
        assert read_to_end(connection).count(b"HTTP/1.1 200 OK") == 21


def test_who_sends_on_over_one_connection_too_many_reads_its_answer(narrow: ServerProcess) -> None:
    with ExitStack() as stack:
        hold(stack, narrow, LIMIT)
        with connected(narrow, receive_buffer=4096) as connection, sending(connection, (LONG + b"\r\n") * 200_000):
            head, _, body = read_to_end(connection).partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head
