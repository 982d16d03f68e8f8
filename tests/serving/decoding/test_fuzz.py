"""Whatever is sent is answered: pictures, JSON, forms and headers mutated from valid ones, and the server stands.

The examples are the same in every run. FUZZ_EXAMPLES=20000 makes that many of each, at random.
"""

import io
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
import python_multipart
import python_multipart.exceptions
from bodies import FORM, Body, assert_right, pictures, post, raw
from conftest import ServerProcess
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory import MEGABYTE, peak_memory
from mutations import BODIES, FORMS, HEADS, PICTURES, QUERIES, TEXTS, TRANSFER, WHOLE, mutated
from PIL import Image
from wire import connected, read_to_end

from serving.decoding.document import read_document
from serving.decoding.multipart import parse_form
from serving.decoding.pictures import decode_picture, open_picture
from serving.errors import Refusal

T = TypeVar("T")

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
MAX_PIXELS = 1_000_000
SECONDS = 10.0  # for one request, on a machine that does other things too


def fuzzing(examples: int) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=slow,
    )


def outcome(function: Callable[[], T]) -> T | Refusal:
    """What it returns, or the refusal that it raises."""
    try:
        return function()
    except Refusal as refusal:
        return refusal


@fuzzing(150)
@given(PICTURES | st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_are_refused(data: bytes) -> None:
    pixels = outcome(lambda: decode_picture(open_picture(data, index=0, max_pixels=MAX_PIXELS), index=0))
    if isinstance(pixels, Refusal):
        assert pixels.status in (400, 413)
    else:
        assert pixels.shape == (32, 32, 3)
        assert pixels.dtype == np.uint8


def loads(body: bytes) -> Any:
    """What the standard library reads, or an exception as a value."""
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        return error


@fuzzing(150)
@given(TEXTS)
def test_json_is_read_as_the_standard_library_reads_it(body: bytes) -> None:
    whole = loads(body)
    read = outcome(lambda: read_document(body, max_images=10, options={"model", "top_k", "strict"}))
    if isinstance(read, Refusal):
        assert read.status in (400, 413, 422)
        assert isinstance(whole, Exception) or read.status != 400, read
        return
    images, members = read
    if set(members) <= {"model", "top_k", "strict"}:  # what follows an unknown member is not read
        assert isinstance(whole, dict)
        expected = whole.pop("images", None)
        assert repr(members) == repr(whole)  # NaN is not equal to itself
        assert (images is None) == (not isinstance(expected, list))
        for image, source in zip(images or [], expected if images else [], strict=True):
            if not isinstance(image, Refusal):
                assert (image if isinstance(image, str) else image.tolist()) == source


@fuzzing(100)
@given(FORMS | st.binary(max_size=100))
def test_any_bytes_are_a_form_or_are_refused(body: bytes) -> None:
    parts = outcome(lambda: parse_form(body, FORM, max_parts=10))
    if isinstance(parts, Refusal):
        assert parts.status in (400, 413)
    else:
        assert sum(len(each.data) for each in parts) <= len(body)
        expected = parts_of_library(body)
        assert expected is None or [(each.name, each.data) for each in parts] == expected


def parts_of_library(body: bytes) -> list[tuple[str, bytes]] | None:
    """What python-multipart reads, which knows no preamble; nothing where it refuses, or wants names or an end."""
    found: list[tuple[str, bytes]] = []

    def field(each: Any) -> None:
        found.append(((each.field_name or b"").decode("utf-8", "replace"), each.value or b""))

    def file(each: Any) -> None:
        each.file_object.seek(0)
        found.append(((each.field_name or b"").decode("utf-8", "replace"), each.file_object.read()))

    try:
        python_multipart.parse_form({"Content-Type": FORM.encode()}, io.BytesIO(body), field, file)
    except python_multipart.exceptions.FormParserError:
        return None
    return found


@pytest.fixture(scope="module")
def asked(server: ServerProcess) -> Iterator[httpx.Client]:
    """A client of a server whose memory is watched."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        post(client, raw(pictures(1))).raise_for_status()
        before = peak_memory(server)
        yield client
        assert peak_memory(server) - before < 200 * MEGABYTE
        assert_right(post(client, raw(pictures(3))), pictures(3))


@fuzzing(150)
@given(BODIES, QUERIES)
def test_any_request_is_answered_or_refused(asked: httpx.Client, body: Body, query: dict[str, str]) -> None:
    start = time.monotonic()
    response = post(asked, body, **query)
    assert time.monotonic() - start < SECONDS
    if response.status_code == 200:
        assert response.json()["predictions"]
    else:
        assert response.status_code in (400, 404, 413, 415, 422), response.text
        assert response.json()["error"]["message"]


@fuzzing(60)
@given(mutated(HEADS, TRANSFER))
def test_any_bytes_on_the_wire_are_answered_or_end_the_connection(
    asked: httpx.Client, server: ServerProcess, sent: bytes
) -> None:
    with connected(server) as connection:
        start = time.monotonic()
        connection.sendall(sent)
        try:
            connection.shutdown(1)  # this is all
        except OSError:
            return  # the server has closed already
        answer = read_to_end(connection)
        assert time.monotonic() - start < SECONDS + 10
    assert not answer or answer.startswith(b"HTTP/1.1 "), answer
    assert not answer.startswith(b"HTTP/1.1 500"), answer


def test_the_log_holds_no_trace_of_what_was_sent(asked: httpx.Client, server: ServerProcess) -> None:
    assert "Traceback" not in server.log.read_text()


def test_the_pictures_that_are_mutated_are_valid(asked: httpx.Client) -> None:
    for data in WHOLE:
        with Image.open(io.BytesIO(data)) as picture:
            assert post(asked, Body(data, "image/png")).status_code == 200, picture.format
