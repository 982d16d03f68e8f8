"""Clients that are slow, stuck or malicious hold nothing for long, and nobody else up: over raw sockets."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic

import httpx
import psutil
import pytest
from bad_requests import GOOD_JPEG, insert
from bodies import assert_right, form, part, pictures, post, raw
from conftest import ServerProcess, serving
from memory import resident_memory
from metrics_text import Figures, grown
from wire import connected, dribble, hangs_up, post_head, read_to_end, wait_for_hangup

LIMIT = 1.0  # seconds, for a header, an answer to be read, and a request altogether
SLACK = 8.0  # seconds, on a machine that does other things too
KEPT = 16 * 2**20  # bytes


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("impatient") / "log", client_timeout=LIMIT, timeout=LIMIT) as server:
        server.wait_until_ready()
        yield server


@pytest.mark.parametrize("sent", [b"", b"POST", b"POST /classify HTTP/1.1\r\nHost: here\r\n", b"\r\n\r\n"])
def test_a_header_that_does_not_end_closes_the_connection(impatient: ServerProcess, sent: bytes) -> None:
    with connected(impatient) as connection:
        start = monotonic()
        connection.sendall(sent)
        assert read_to_end(connection) == b""
        assert LIMIT / 2 < monotonic() - start < LIMIT + SLACK


def test_a_header_that_comes_byte_by_byte_has_no_more_time(impatient: ServerProcess) -> None:
    with connected(impatient) as connection:
        start = monotonic()
        assert dribble(connection, b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * 1000, 0.1) == b""
        assert monotonic() - start < LIMIT + SLACK


def test_a_second_header_has_no_more_time_than_the_first(impatient: ServerProcess) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        start = monotonic()
        dribble(connection, b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * 1000, 0.1)
        assert monotonic() - start < LIMIT + SLACK


@pytest.mark.parametrize(
    ("url", "lines"),
    [
        (b"/livez", b"X-Long: " + b"x" * 70_000 + b"\r\n"),
        (b"/livez", b"a:b\r\n" * 3000),
        (b"/" + b"u" * 40_000, b"X-Long: " + b"x" * 40_000 + b"\r\n"),
        (b"/" + b"u" * 70_000, b""),
    ],
    ids=["long", "many", "with its address", "address"],
)
def test_a_header_of_more_than_its_bytes_is_refused(impatient: ServerProcess, url: bytes, lines: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"GET %b HTTP/1.1\r\nHost: here\r\n%b\r\n" % (url, lines))
        head, _, body = read_to_end(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert "65536 bytes" in json.loads(body)["error"]["message"]


CHUNKED = b"POST /classify HTTP/1.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"


@pytest.mark.parametrize(
    ("begun", "endless"),
    [
        (b"GET /livez HTTP/1.1\r\nX-Long: ", b"x"),
        (b"GET /", b"x"),
        (b"", b"\r\n"),
        (CHUNKED + b"0\r\nX-Long: ", b"x"),
        (CHUNKED + b"1;", b"x"),
    ],
    ids=["header", "url", "empty lines", "trailer", "chunk extension"],
)
def test_what_stands_around_bodies_and_has_no_end_is_not_kept(
    impatient: ServerProcess, begun: bytes, endless: bytes
) -> None:
    start, sent, before, most = monotonic(), 0, resident_memory(impatient), 0
    with connected(impatient) as connection, suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(begun)
        while sent < 10**11:
            for _ in range(50):
                sent += connection.send(endless * 100_000)
            most = max(most, resident_memory(impatient))
    assert monotonic() - start < LIMIT + SLACK
    assert sent > KEPT
    assert most - before < KEPT


def test_a_body_that_does_not_end_is_answered_and_closed(impatient: ServerProcess) -> None:
    with connected(impatient) as connection:
        start = monotonic()
        connection.sendall(post_head(3072) + bytes(1000))
        head, _, body = read_to_end(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 504")
        assert json.loads(body)["error"]["code"] == "deadline_passed"
        assert monotonic() - start < LIMIT + 5 + SLACK  # BentoML lets a silent connection live for 5 seconds


@pytest.mark.parametrize("path", ["classify", "nope", "livez"])
def test_a_body_that_comes_byte_by_byte_has_no_more_time(impatient: ServerProcess, path: str) -> None:
    with connected(impatient) as connection:
        start = monotonic()
        connection.sendall(post_head(10**6).replace(b"classify", path.encode()))
        answer = dribble(connection, bytes(1000), 0.1)
        assert answer.startswith(b"HTTP/1.1 " + (b"504" if path == "classify" else b"4"))
        assert monotonic() - start < 2 * LIMIT + SLACK


def test_pictures_that_take_long_are_decoded_until_the_deadline_and_no_longer(impatient: ServerProcess) -> None:
    slow = insert(GOOD_JPEG, 2, b"\xff\xec\x00\x02" * 16_000)  # tens of milliseconds, for its pieces
    before = cpu_seconds(impatient)
    with httpx.Client(base_url=impatient.url, timeout=60) as client:
        response = post(client, form(*[part("images", slow)] * 250))
    assert response.status_code == 504
    assert cpu_seconds(impatient) - before < 4 * LIMIT  # were all decoded, ten seconds


def cpu_seconds(server: ServerProcess) -> float:
    """Of its workers."""
    workers = psutil.Process(server.process.pid).children(recursive=True)
    return sum(sum(worker.cpu_times()[:2]) for worker in workers)


REFUSED_AT_ONCE = b"POST /classify HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize("megabyte", [bytes(10**6), b"f4240\r\n" + bytes(10**6) + b"\r\n"], ids=["length", "chunked"])
def test_who_is_refused_early_in_a_long_body_reads_why(server: ServerProcess, megabyte: bytes) -> None:
    chunked = not megabyte.startswith(b"\0")
    framing = b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: 30000000\r\n\r\n"
    with connected(server) as connection:
        connection.sendall(REFUSED_AT_ONCE + framing)
        assert connection.recv(12) == b"HTTP/1.1 415"  # before the body, which is sent nevertheless
        for _ in range(30):
            connection.sendall(megabyte)
        connection.sendall(b"0\r\n\r\n" if chunked else b"")
        _, _, body = read_to_end(connection).partition(b"\r\n\r\n")
        assert json.loads(body)["error"]["code"] == "unsupported_type"


@pytest.mark.parametrize("rest", [b"\0", b"no chunk\r\n"])
def test_the_rest_of_a_body_is_not_waited_for_in_vain(impatient: ServerProcess, rest: bytes) -> None:
    framing = b"Content-Length: 1000000" if rest == b"\0" else b"Transfer-Encoding: chunked"
    with connected(impatient) as connection:
        start = monotonic()
        connection.sendall(REFUSED_AT_ONCE + framing + b"\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 415")  # it says that it is done, and still listens
        with suppress(ConnectionResetError, BrokenPipeError):
            while not hangs_up(connection, 0.1) and monotonic() - start < 2 * LIMIT + SLACK:
                connection.sendall(rest)
        assert LIMIT / 2 * (rest == b"\0") < monotonic() - start < 2 * LIMIT + SLACK


def test_a_connection_whose_body_came_after_the_answer_is_closed_like_any_other(impatient: ServerProcess) -> None:
    with connected(impatient) as connection:
        connection.sendall(post_head(3072, "text/plain"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 415")
        connection.sendall(bytes(3072))
        assert read_to_end(connection) == b""
        connection.sendall(b"\r\n")
        assert hangs_up(connection, LIMIT / 2)  # at once: nobody waits there for the rest of a body


def test_who_goes_in_the_middle_of_a_body_raises_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as server:
        server.wait_until_ready()
        for _ in range(20):
            with connected(server) as connection:
                connection.sendall(REFUSED_AT_ONCE + b"Content-Length: 100\r\n\r\n\0")
        with httpx.Client(base_url=server.url, timeout=30) as client:
            assert_right(post(client, raw(pictures(1))), pictures(1))
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_client_that_does_not_read_its_answers_is_cut_off(impatient: ServerProcess) -> None:
    with connected(impatient, receive_buffer=4096) as connection:
        # More than the buffers of both systems take; then the server can write no more.
        connection.sendall(b"GET /docs.json HTTP/1.1\r\nHost: here\r\n\r\n" * 3000)
        wait_for_hangup(connection)


def test_many_stuck_clients_hold_nobody_up(impatient: ServerProcess) -> None:
    with ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(connected(impatient))
            connection.sendall(post_head(3072)[: -1 - number % 20] if number % 2 else post_head(10**6) + bytes(10**5))
        with httpx.Client(base_url=impatient.url, timeout=30) as client:
            assert_right(post(client, raw(pictures(3))), pictures(3))


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"\x16\x03\x01\x02\x00"]
)
def test_what_is_no_http_gets_an_error_object(impatient: ServerProcess, sent: bytes) -> None:
    labels = {"route": "other", "status": "400", "code": "unreadable"}
    with connected(impatient) as connection, httpx.Client(base_url=impatient.url, timeout=30) as client:
        before = Figures(client)
        connection.sendall(sent)
        head, _, body = read_to_end(connection).partition(b"\r\n\r\n")
        assert grown(before, Figures(client), "cifar_requests_total", **labels) == 1
    assert head.startswith(b"HTTP/1.1 400")
    assert b"content-type: application/json" in head
    assert b"\r\ndate: " in head  # RFC 9110, section 6.6.1
    assert json.loads(body)["error"]["code"] == "unreadable"
    (name,) = re.findall(r"x-request-id: (\S+)", head.decode())
    end = monotonic() + SLACK
    while f'"request_id":"{name}"' not in impatient.log.read_text():  # which a thread writes
        assert monotonic() < end, "it is not in the log"


def test_patient_clients_are_served_as_ever(impatient: ServerProcess) -> None:
    with httpx.Client(base_url=impatient.url, timeout=30) as client:
        for _ in range(20):
            assert_right(post(client, raw(pictures(1))), pictures(1))
