"""A request that cannot be answered gets one error object that says why, and touches no other request."""

import asyncio
import re

import httpx
import pytest
from bad_requests import BAD_REQUESTS, GOOD, GOOD_PNG, MAX_BYTES, Bad
from bodies import RAW, Body, assert_right, field, form, headers, part, pictures, post, raw
from conftest import ServerProcess

INTERNALS = re.compile(r"Traceback|File \"|\.py\b| at 0x|<[\w.]+ object|site-packages")


def send(client: httpx.Client, bad: Bad) -> httpx.Response:
    return client.post(f"/classify?{bad.query}", content=bad.body.content, headers=headers(bad.body))


def assert_refused(response: httpx.Response, bad: Bad) -> None:
    assert response.headers["content-type"] == "application/json", bad.name
    found = response.json()
    message = found["error"].pop("message")
    expected = {"code": bad.code} | ({} if bad.index is None else {"index": bad.index})
    assert (response.status_code, found) == (bad.status, {"error": expected}), f"{bad.name}: {message}"
    assert message, bad.name
    assert "data URL" in message or bad.name != "not base64"
    assert not INTERNALS.search(message), message


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.name)
def test_a_bad_request_gets_an_error_object_that_says_why(client: httpx.Client, bad: Bad) -> None:
    assert_refused(send(client, bad), bad)


def test_a_body_without_length_is_counted_as_it_comes(client: httpx.Client) -> None:
    chunk = bytes(1024 * 1024)
    chunks = (chunk for _ in range(MAX_BYTES // len(chunk) + 1))
    response = client.post("/classify", content=chunks, headers={"Content-Type": RAW})
    assert "content-length" not in response.request.headers
    assert_refused(response, Bad("a body in chunks", Body(b"", RAW), 413, "too_large"))


def test_an_error_does_not_repeat_all_that_was_sent(client: httpx.Client) -> None:
    response = post(client, form(part("images", GOOD_PNG), field("top_k", "9" * 100_000)))
    assert response.status_code == 422
    assert len(response.content) < 1000


def test_after_all_bad_requests_the_server_answers_rightly(client: httpx.Client) -> None:
    for bad in BAD_REQUESTS:
        assert send(client, bad).status_code >= 400, bad.name
    assert_right(post(client, raw(pictures(3))), pictures(3))
    assert client.get("/readyz").status_code == 200


def test_a_good_request_among_bad_ones_is_untouched(server: ServerProcess) -> None:
    small = [bad for bad in BAD_REQUESTS if len(bad.body.content) < 100_000]

    async def mixture() -> tuple[list[httpx.Response], list[httpx.Response]]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:

            async def post_body(body: Body, query: str = "") -> httpx.Response:
                return await client.post(f"/classify?{query}", content=body.content, headers=headers(body))

            good = [post_body(raw(image[None])) for image in pictures(len(small))]
            wrong = [post_body(bad.body, bad.query) for bad in small]
            answers = await asyncio.gather(*(request for pair in zip(good, wrong, strict=True) for request in pair))
            return answers[::2], answers[1::2]

    good, wrong = asyncio.run(mixture())
    for image, response in zip(pictures(len(small)), good, strict=True):
        assert_right(response, image[None])
    for bad, response in zip(small, wrong, strict=True):
        assert response.status_code >= 400, bad.name


def test_only_post_is_answered_at_classify(client: httpx.Client) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        response = client.request(method, "/classify")
        assert_refused(response, Bad(method, Body(b"", ""), 405, "method_not_allowed"))
        assert response.headers["allow"] == "POST"  # RFC 9110, 15.5.6: a 405 must say what is allowed


@pytest.mark.parametrize("path", ["/nope", "/classify/", "/classify/x", "/models/cifarnet/model.onnx"])
def test_an_unknown_path_gets_an_error_object(client: httpx.Client, path: str) -> None:
    assert_refused(client.get(path), Bad(path, Body(b"", ""), 404, "not_found"))
    assert_refused(client.post(path, content=GOOD.tobytes()), Bad(path, Body(b"", ""), 404, "not_found"))


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/metrics", "/docs.json", "/schema.json"])
def test_what_can_only_be_got_gets_an_error_object_too(client: httpx.Client, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response = client.request(method, path)
        assert_refused(response, Bad(method, Body(b"", ""), 405, "method_not_allowed"))
        assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("bad", [bad for bad in BAD_REQUESTS if "unknown" in bad.name], ids=lambda bad: bad.name)
def test_what_is_unknown_is_named(client: httpx.Client, bad: Bad) -> None:
    message = send(client, bad).json()["error"]["message"]
    assert "'colour'" in message or "'nope'" in message


def test_a_body_that_is_sent_as_it_is_may_say_so(client: httpx.Client) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "Identity"}  # RFC 9110, 8.4.1: in any case
    assert client.post("/classify", content=GOOD_PNG, headers=headers).status_code == 200


def test_a_compressed_body_is_refused_by_its_encoding(client: httpx.Client) -> None:
    response = client.post("/classify", content=GOOD_PNG, headers={"Content-Type": RAW, "Content-Encoding": "gzip"})
    assert_refused(response, Bad("gzip", Body(b"", ""), 415, "unsupported_type"))
