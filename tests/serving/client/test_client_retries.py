"""When a client asks again, how long it waits, and when it gives up. No test sleeps: time is a number."""

import inspect
from typing import Any

import httpx
import numpy as np
import pytest
from asking import KINDS, URL, Script, answer_all, answered, mocked, refused
from bodies import encode, pictures

from serving.client import ClassifyError, Client, Unavailable

BOTH = pytest.mark.parametrize("kind", KINDS, ids=("sync", "async"))
IMAGE = np.zeros((32, 32, 3), np.uint8)
REFUSED = httpx.ConnectError("[Errno 111] Connection refused")
SECONDS_LATER = "Sun, 06 Nov 1994 08:49:41 GMT"  # 4 after the start


def ask(kind: Any, *outcomes: httpx.Response | Exception, **options: Any) -> tuple[Any, list[float], Script]:
    """What came of one image: the answer or the error, the waits between the attempts, and what was sent."""
    script = Script(list(outcomes))
    client, time = mocked(kind, script, **options)
    try:
        result = client.classify(IMAGE)
    except ClassifyError as error:
        result = error
    assert time.slept[0] == 0  # before the first attempt
    return result, time.slept[1:], script


@BOTH
@pytest.mark.parametrize("status", [429, 502, 503])
@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "2"}, 2),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": SECONDS_LATER}, 4),
        ({"Retry-After": SECONDS_LATER, "Date": "Sun, 06 Nov 1994 08:49:40 GMT"}, 1),  # by the server's own clock
        ({"Retry-After": SECONDS_LATER, "Date": "?"}, 4),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:07 GMT"}, 0),  # long ago
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "-5"}, 0),
        ({}, 0),
    ],
)
def test_a_busy_server_is_asked_again_no_earlier_than_it_says(
    kind: Any, status: int, headers: dict[str, str], wait: float
) -> None:
    for chance in (0.0, 1.0):
        answer, waits, script = ask(kind, refused(status, headers=headers), answered(), chance=chance, timeout=100)
        assert answer.predictions[0].label == "cat"
        assert waits == [wait + 0.25 * chance]
        assert len(script.requests) == 2


@BOTH
@pytest.mark.parametrize(
    "outcome",
    [
        REFUSED,
        httpx.ConnectTimeout("timed out"),
        httpx.ReadError("[Errno 104] Connection reset by peer"),  # a server that is being replaced
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.Response(503),  # of a proxy
    ],
)
def test_waits_grow_and_are_drawn_at_random(kind: Any, outcome: Any) -> None:
    options = {"retries": 8, "timeout": 1000}
    _, waits, _ = ask(kind, outcome, chance=1.0, **options)
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 8, 8]
    _, waits, _ = ask(kind, outcome, chance=0.5, **options)
    assert waits == [0.125, 0.25, 0.5, 1, 2, 4, 4, 4]
    _, waits, _ = ask(kind, outcome, chance=0.0, **options)
    assert waits == [0] * 8


@BOTH
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_it_gives_up_after_so_many_retries(kind: Any, retries: int) -> None:
    error, waits, script = ask(kind, refused(429, "queue_full", {"Retry-After": "1"}), retries=retries)
    assert isinstance(error, Unavailable)
    assert (error.code, error.status, error.message) == ("queue_full", 429, "Said so.")
    assert len(script.requests) == retries + 1
    assert len(waits) == retries
    assert (f"asked {retries + 1} times" in str(error)) == (retries > 0)
    assert "Ask later or fewer at a time" in str(error)


@BOTH
def test_an_unreachable_server_is_named(kind: Any) -> None:
    error, _, _ = ask(kind, REFUSED, retries=1)
    assert isinstance(error, Unavailable)
    assert (error.code, error.status) == ("unreachable", None)
    assert str(error).startswith(f"{URL}/classify (asked 2 times in 0.2 s): No answer: {REFUSED}. Is the server")


@BOTH
@pytest.mark.parametrize("timeout", [30, 2_147_483])
def test_a_real_port_that_nobody_listens_at_is_unreachable(kind: Any, timeout: float) -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1/classify: No answer.*Is the server running"):
        kind("http://127.0.0.1:1", retries=0, timeout=timeout).classify(IMAGE)


@BOTH
@pytest.mark.parametrize("outcome", [REFUSED, refused(503), refused(429, headers={"Retry-After": "3"})])
def test_all_attempts_together_end_before_the_timeout(kind: Any, outcome: Any) -> None:
    error, waits, script = ask(kind, outcome, retries=10**6, timeout=20)
    assert isinstance(error, Unavailable)
    assert sum(waits) < 20
    assert len(script.requests) > 3
    # No step of an attempt may take longer than what is left.
    for number, limits in enumerate(script.limits):
        assert limits == pytest.approx(dict.fromkeys(("connect", "read", "write", "pool"), 20 - sum(waits[:number])))


@BOTH
@pytest.mark.parametrize("after", ["20", "86400", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_wait_that_would_outlast_the_timeout_is_not_begun(kind: Any, after: str) -> None:
    error, waits, _ = ask(kind, refused(503, "not_ready", {"Retry-After": after}), timeout=10)
    assert isinstance(error, Unavailable)
    assert waits == []


@BOTH
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 405, 408, 413, 415, 422, 500, 504])
def test_other_answers_are_final(kind: Any, status: int) -> None:
    error, waits, script = ask(kind, refused(status, headers={"Retry-After": "1"}), answered())
    assert isinstance(error, ClassifyError)
    assert (error.status, waits, len(script.requests)) == (status, [], 1)


@BOTH
@pytest.mark.parametrize("outcome", [httpx.ReadTimeout("timed out"), httpx.WriteTimeout(""), httpx.PoolTimeout("")])
def test_time_that_has_run_out_is_not_asked_for_again(kind: Any, outcome: Exception) -> None:
    error, waits, script = ask(kind, outcome, answered())
    assert isinstance(error, Unavailable)
    assert (error.code, waits, len(script.requests)) == ("timeout", [], 1)


@BOTH
def test_a_bundle_that_failed_is_not_asked_again(kind: Any) -> None:
    error, waits, script = ask(kind, refused(503, "not_ready"), answered())
    assert isinstance(error, Unavailable)
    assert (waits, len(script.requests)) == ([], 1)
    assert "client.models() says what failed." in str(error)


@BOTH
@pytest.mark.parametrize(
    ("outcome", "helps", "does_not"),
    [
        (refused(504, "deadline_passed"), "fewer at a time: batch_size=… of the client", "timeout"),  # of the server
        (httpx.ReadTimeout("timed out"), "timeout=… of the client waits longer", "retries"),
        (httpx.WriteTimeout(""), "timeout=… of the client waits longer", "retries"),
        (httpx.PoolTimeout(""), "fewer at a time; timeout=… of the client waits longer", "Is the server running"),
    ],
)
def test_what_took_too_long_is_told_what_helps(kind: Any, outcome: Any, helps: str, does_not: str) -> None:
    error, _, _ = ask(kind, outcome)
    assert helps in str(error)
    assert does_not not in str(error)


def leaves(cls: type[Exception]) -> list[type[Exception]]:
    return [leaf for child in cls.__subclasses__() for leaf in leaves(child)] or [cls]


@BOTH
@pytest.mark.parametrize("error", leaves(httpx.RequestError))
def test_no_error_of_httpx_comes_through(kind: Any, error: type[Exception]) -> None:
    parameters = inspect.signature(error).parameters
    result, _, _ = ask(kind, error("why", **({"request": None} if "request" in parameters else {})))
    assert isinstance(result, ClassifyError)
    assert "why" in str(result)


@BOTH
@pytest.mark.parametrize("image", [IMAGE, encode(IMAGE)], ids=("raw", "form"))
def test_what_is_sent_again_is_the_same(kind: Any, image: Any) -> None:
    bodies: list[tuple[str, bytes]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append((request.headers["Content-Type"], request.content))
        return refused(503) if len(bodies) < 3 else answer_all(request)

    asked, _ = mocked(kind, handle)
    asked.classify(image)
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert len(bodies[0][1]) > 100


@BOTH
def test_every_request_of_a_call_has_retries_of_its_own(kind: Any) -> None:
    seen: set[bytes] = set()

    def handle(request: httpx.Request) -> httpx.Response:
        if request.content in seen:
            return answer_all(request)
        seen.add(request.content)
        return refused(503)

    asked, _ = mocked(kind, handle, batch_size=1, retries=1)
    assert len(asked.classify(pictures(5)).predictions) == 5


def test_a_closed_client_says_so() -> None:
    with Client(URL) as client:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        client.classify(IMAGE)
