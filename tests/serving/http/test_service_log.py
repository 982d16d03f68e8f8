"""Each request has an id, in and out; refused, slow and some other requests have a line of JSON in the log."""

import json
import re
import socket
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from bodies import pictures, post, raw
from conftest import ServerProcess, serving
from metrics_text import Figures

from serving.observing.flood import BURST, RATE
from serving.observing.log import RequestLog
from serving.observing.trace import Trace

Lines = list[dict[str, Any]]

OURS = re.compile(r"[0-9a-f]{8}-[0-9a-f]+")
SECRET = "do-not-log-this"


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that logs every request."""
    with serving(tmp_path_factory.mktemp("talkative") / "log", log_sample=1) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def talker(talkative: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=talkative.url, timeout=30) as client:
        yield client


def lines(server: ServerProcess) -> Lines:
    """Those that are written now, after one more request: a thread writes them, soon after the answers."""
    httpx.get(f"{server.url}/livez")
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def line_of(server: ServerProcess, response: httpx.Response) -> dict[str, Any]:
    return lines_up_to(server, response)[-1]


def lines_up_to(server: ServerProcess, response: httpx.Response) -> Lines:
    """All that were written before that of the request, and that one."""
    for _ in range(1000):
        found = lines(server)
        names = [line["request_id"] for line in found]
        if (name := response.headers["x-request-id"]) in names:
            assert names.count(name) == 1
            return found[: names.index(name) + 1]
    raise AssertionError(f"no line of {name}: {server.log.read_text()}")


@pytest.mark.parametrize("path", ["/classify", "/models", "/", "/metrics", "/livez", "/readyz", "/docs.json", "/nope"])
def test_every_answer_has_an_id_of_its_own(client: httpx.Client, path: str) -> None:
    found = [client.get(path).headers["x-request-id"] for _ in range(3)]
    assert all(OURS.fullmatch(name) for name in found)
    assert len(set(found)) == 3


@pytest.mark.parametrize("name", ["a", "0b7e-41", '"{}<%>\\', "~" * 128])
@pytest.mark.parametrize(("path", "status"), [("/models", 200), ("/nope", 404), ("/livez", 200)])
def test_a_sane_id_comes_back(client: httpx.Client, name: str, path: str, status: int) -> None:
    response = client.get(path, headers={"X-Request-ID": name})
    assert response.status_code == status
    assert response.headers.get_list("x-request-id") == [name]


@pytest.mark.parametrize("name", [b"", b"x" * 129, b"a b", b"a\tb", b"caf\xe9", b"\x7f", b"a\x01"])
def test_an_id_that_is_not_sane_is_replaced(client: httpx.Client, name: bytes) -> None:
    response = client.get("/models", headers={b"X-Request-ID": name})
    if b"\x01" in name or b"\x7f" in name:
        assert response.status_code in (200, 400)  # the HTTP parser may refuse such a header itself
    if response.status_code == 200:
        (found,) = response.headers.get_list("x-request-id")
        assert OURS.fullmatch(found)


def test_the_line_of_an_answered_request_says_where_its_time_went(
    talkative: ServerProcess, talker: httpx.Client
) -> None:
    line = line_of(talkative, post(talker, raw(pictures(3))))
    assert line["why"] == "sample"
    assert (line["event"], line["route"], line["status"]) == ("request", "/classify", 200)
    assert (line["images"], line["bytes"], line["client"]) == (3, 3 * 3072, "127.0.0.1")
    assert datetime.fromisoformat(line["time"]).tzinfo
    stages = [line[f"{stage}_seconds"] for stage in ("receive", "decode", "queue", "inference")]
    assert min(stages) >= 0
    assert 0 < sum(stages) <= line["total_seconds"] + 1e-5  # each is rounded
    assert not {"code", "message", "suppressed"} & set(line)


def test_the_line_of_a_refused_request_says_why(talkative: ServerProcess, talker: httpx.Client) -> None:
    response = talker.post("/classify", content=b"no picture", headers={"Content-Type": "image/png"})
    error = response.json()["error"]
    line = line_of(talkative, response)
    assert (line["why"], line["status"], line["code"]) == ("refused", 400, error["code"])
    assert line["message"] == error["message"]
    assert (line["bytes"], line["images"]) == (10, 0)
    assert "decode_seconds" not in line


def test_an_id_that_was_sent_finds_the_line(talkative: ServerProcess, talker: httpx.Client) -> None:
    response = talker.get("/models", headers={"X-Request-ID": "find-me"})
    assert line_of(talkative, response)["route"] == "/models"


def test_a_path_that_a_client_invents_is_no_route(talkative: ServerProcess, talker: httpx.Client) -> None:
    assert line_of(talkative, talker.get("/invented"))["route"] == "other"


def test_the_bytes_of_a_body_that_grows_too_long_are_those_that_were_read(
    talkative: ServerProcess, talker: httpx.Client
) -> None:
    megabyte = bytes(1024 * 1024)
    response = talker.post("/classify", content=(megabyte for _ in range(20)), headers={"Content-Type": "image/png"})
    assert response.status_code == 413
    assert 10 * len(megabyte) < line_of(talkative, response)["bytes"] <= 16 * len(megabyte)


@pytest.mark.parametrize(("trusted", "client"), [(None, "192.0.2.7"), ("192.0.2.1", "127.0.0.1")])
def test_the_client_is_whom_a_proxy_that_may_be_believed_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: str | None, client: str
) -> None:
    if trusted is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    with serving(tmp_path / "log", log_sample=1) as server:
        server.wait_until_ready()
        response = httpx.get(f"{server.url}/models", headers={"X-Forwarded-For": "192.0.2.7"})
        assert line_of(server, response)["client"] == client


def test_no_secret_and_no_picture_is_in_the_log(talkative: ServerProcess, talker: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": SECRET, "Content-Type": "image/png"}
    for query in ("", "?key=" + SECRET):
        response = talker.post(f"/classify{query}", content=SECRET.encode() * 10, headers=headers)
        assert line_of(talkative, response)["why"] == "refused"
    assert SECRET not in talkative.log.read_text()


@pytest.mark.parametrize("path", ["/" + "x" * 5000, "/%F0%9F%98%80%0A%1B%22" * 100])
def test_a_line_is_one_line_and_short_whatever_is_sent(
    talkative: ServerProcess, talker: httpx.Client, path: str
) -> None:
    line = line_of(talkative, talker.get(path))
    assert len(line["message"]) <= 200
    assert max(map(len, talkative.log.read_text().splitlines())) < 4096


def test_a_flood_of_refused_requests_does_not_drown_the_log(server: ServerProcess, client: httpx.Client) -> None:
    before = lines(server)
    labels = {"route": "other", "code": "not_found"}
    counted = Figures(client).total("cifar_requests_total", **labels)
    start = datetime.now().timestamp()
    for _ in range(300):
        client.get("/flood")
    seconds = datetime.now().timestamp() - start
    new = [line for line in lines(server)[len(before) :] if line.get("code") == "not_found"]
    assert len(new) <= BURST + RATE * seconds + 1
    assert len(new) + sum(line.get("suppressed", 0) for line in new[1:]) <= 300
    assert Figures(client).total("cifar_requests_total", **labels) - counted == 300


def test_a_line_of_uvicorn_is_written_once(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as server:
        server.wait_until_ready()
        with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0), timeout=30) as connection:
            connection.sendall(b"no HTTP\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert server.log.read_text().count("Invalid HTTP request received.\n") == 1


def test_slow_requests_are_logged_even_where_no_others_are(tmp_path: Path) -> None:
    with serving(tmp_path / "log", log_sample=0, log_slow=1e-6) as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            line = line_of(server, post(client, raw(pictures(1))))
    assert (line["why"], line["status"]) == ("slow", 200)


def test_nothing_is_logged_of_requests_that_went_well_where_the_share_is_0(tmp_path: Path) -> None:
    with serving(tmp_path / "log", log_sample=0, log_slow="inf") as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            for _ in range(30):
                post(client, raw(pictures(1)))
            refused = client.get("/nope")
        assert [line["why"] for line in lines_up_to(server, refused)] == ["refused"]


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refused(code: str) -> Trace:
    return Trace(b"id", status=400, code=code)


def test_what_went_without_a_line_is_counted_in_the_next() -> None:
    written: list[str] = []
    clock = Clock()
    log = RequestLog(sample=0, slow=1, write=written.append, clock=clock)
    for _ in range(BURST + 7):
        log.ended(refused("flood"), "")
    assert len(written) == BURST
    log.ended(refused("rare"), "")  # a flood of one kind takes no other's place
    assert json.loads(written.pop())["code"] == "rare"
    clock.now += 1 / RATE
    log.ended(refused("flood"), "")
    assert json.loads(written[-1])["suppressed"] == 7
    clock.now += 1000
    for _ in range(2 * BURST):
        log.ended(refused("flood"), "")
    assert len(written) == 2 * BURST + 1
    assert "suppressed" not in json.loads(written[-1])


def test_the_share_of_other_requests_is_about_what_was_asked_for() -> None:
    numbers = count()
    log = RequestLog(sample=0.2, slow=1, write=lambda line: void(next(numbers)), clock=Clock())
    for _ in range(10_000):
        log.ended(Trace(status=200), "")
    assert 1700 < next(numbers) < 2300  # seven standard deviations


def void(_: object) -> None:
    """Write nothing."""
