"""However much many clients send at once, a worker holds little of it, and nobody waits for another's parsing."""

import asyncio
import io
import threading
import time
import weakref
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
from bodies import JSON, Body, assert_right, document, form, part, pictures, png, post, raw
from conftest import ServerProcess, serving
from encoded import exif, saved
from memory import MEGABYTE, forget_peak, peak_memory
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from wire import PATIENCE, connected, post_head

from serving.http.threads import run


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with room for the body of one request."""
    settings: dict[str, Any] = {"max_bytes": MEGABYTE, "max_held_bytes": MEGABYTE, "timeout": 60}
    with serving(tmp_path_factory.mktemp("small") / "log", **settings) as server:
        server.wait_until_ready()
        yield server


def post_until(client: httpx.Client, body: Body, status: int) -> httpx.Response:
    """Ask until the answer has that status."""
    end = time.monotonic() + PATIENCE
    while (response := post(client, body)).status_code != status:
        assert time.monotonic() < end, response.text
    return response


def test_a_body_for_which_there_is_no_room_is_refused_until_there_is(small: ServerProcess) -> None:
    images = pictures(200)
    body = raw(images)
    with connected(small) as connection, httpx.Client(base_url=small.url, timeout=60) as client:
        connection.sendall(post_head(len(body.content)) + body.content[:-1])
        busy = post_until(client, body, 429)
        assert busy.json()["error"]["code"] == "busy"
        assert int(busy.headers["retry-after"]) >= 1
        assert_right(post(client, raw(pictures(3))), pictures(3))  # for which there is room
        connection.sendall(body.content[-1:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert_right(post_until(client, body, 200), images)


def test_large_bodies_that_do_not_end_leave_room_for_small_ones(tmp_path: Path) -> None:
    large = raw(pictures(300)).content
    settings: dict[str, Any] = {"max_bytes": MEGABYTE, "max_held_bytes": 4 * MEGABYTE, "timeout": 60}
    with serving(tmp_path / "log", **settings) as server, ExitStack() as stack:
        server.wait_until_ready()
        client = stack.enter_context(httpx.Client(base_url=server.url, timeout=60))
        end = time.monotonic() + PATIENCE
        while post(client, raw(pictures(300))).status_code != 429:  # which may itself take the room of one that hangs
            assert time.monotonic() < end
            connection = stack.enter_context(connected(server))
            with suppress(ConnectionError):  # of one for which there is no room any more
                connection.sendall(post_head(len(large)) + large[:-1])
        for _ in range(20):
            assert_right(post(client, raw(pictures(3))), pictures(3))


def test_the_room_of_a_client_that_has_gone_is_free_again(small: ServerProcess) -> None:
    body = raw(pictures(200))
    with httpx.Client(base_url=small.url, timeout=60) as client:
        with connected(small) as connection:
            connection.sendall(post_head(len(body.content)) + body.content[:-1])
            post_until(client, body, 429)
        post_until(client, body, 200)
        refused = [post(client, Body(body.content, JSON)) for _ in range(5)]  # nor does a refused body keep its room
        assert {response.status_code for response in refused} == {400}
        assert post(client, body).status_code == 200


def large_png(mode: str, **options: object) -> bytes:
    """16,000,000 pixels in a few bytes."""
    file = io.BytesIO()
    Image.new(mode, (4000, 4000), 1 if mode == "P" else None).save(file, "PNG", compress_level=1, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, int]]:
    """A server that gives large pictures time, and the memory that it needs without them."""
    with serving(tmp_path_factory.mktemp("patient") / "log", timeout=120) as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=60) as client:
            post(client, png(pictures(1)[0])).raise_for_status()
        yield server, peak_memory(server)


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {}), ("RGBA", {}), ("P", {"transparency": 0}), ("I;16", {})],
    ids=["rgb", "rgba", "palette", "16-bit"],
)
def test_large_pictures_sent_together_do_not_add_up(
    patient: tuple[ServerProcess, int], mode: str, options: dict[str, object]
) -> None:
    server, before = patient
    data = large_png(mode, **options)
    forget_peak(server)
    with httpx.Client(base_url=server.url, timeout=200) as client, ThreadPoolExecutor(6) as threads:
        for response in threads.map(lambda _: post(client, Body(data, "image/png")), range(6)):
            assert response.status_code == 200, response.text
    # One at a time: 4 bytes a pixel, for some kinds once more, and the steps of a strip.
    assert peak_memory(server) - before < 180 * MEGABYTE


def noted_png(kind: str) -> bytes:
    """A picture with long notes, a kilobyte when compressed: before its pixels, or behind them."""
    megabyte = bytes(1000 * 1000)
    if kind == "profile":
        return saved(Image.fromarray(pictures(1)[0]), icc_profile=megabyte)
    notes = PngInfo()
    if kind == "text":
        notes.add_text("Comment", megabyte.decode(), zip=True)
    else:  # what may say which side is up
        text = zlib.compress(megabyte if kind == "long" else megabyte[: 100 * 1000])
        for _ in range(3):
            notes.add(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + text, after_idat=kind == "behind")
    return saved(Image.fromarray(pictures(1)[0]), pnginfo=notes)


@pytest.mark.parametrize(
    ("kind", "status"), [("profile", 200), ("text", 200), ("long", 200), ("before", 413), ("behind", 413)]
)
def test_metadata_in_pictures_do_not_fill_the_memory(
    server: ServerProcess, client: httpx.Client, kind: str, status: int
) -> None:
    data = noted_png(kind)
    assert len(data) < 8 * 1024
    assert_right(post(client, Body(data, "image/png")), pictures(1))
    forget_peak(server)
    before = peak_memory(server)
    response = post(client, form(*[part("images", data)] * 500))
    assert response.status_code == status
    assert peak_memory(server) - before < 60 * MEGABYTE


def test_a_picture_of_many_tags_is_read_beside_other_requests(server: ServerProcess) -> None:
    tags = exif(6)
    tags.update((0xB000 + number, 1) for number in range(0x4F00))
    body = form(*[part("images", saved(Image.fromarray(pictures(1)[0]), exif=tags))] * 4)
    assert ask_beside(server, body) == 200


def test_a_small_request_beside_a_large_one_is_answered_soon(server: ServerProcess) -> None:
    body = document(pictures(1000).tolist())
    assert len(body.content) > 10 * MEGABYTE
    assert ask_beside(server, body) in (200, 504)


def ask_beside(server: ServerProcess, body: Body) -> int:
    """The status of a request, while which small ones are answered soon."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        assert post(client, raw(pictures(1))).status_code == 200
        alone = median(latencies(client, 20))
        statuses: list[int] = []
        thread = threading.Thread(target=lambda: statuses.append(httpx_post(server, body)))
        thread.start()
        beside = []
        while thread.is_alive():
            beside += latencies(client, 1)
        thread.join()
    assert max(beside) < 0.5 + 10 * alone
    return statuses[0]


def httpx_post(server: ServerProcess, body: Body) -> int:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        return post(client, body).status_code


def latencies(client: httpx.Client, count: int) -> list[float]:
    found = []
    for _ in range(count):
        start = time.perf_counter()
        assert client.get("/livez").status_code == 200
        found.append(time.perf_counter() - start)
    return found


def test_what_has_come_too_late_is_let_go_and_what_a_thread_works_on_is_waited_for() -> None:
    class Body: ...

    begun, free = threading.Event(), threading.Event()

    def work(body: Body) -> None:
        begun.set()
        assert free.wait(PATIENCE)

    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            running = asyncio.create_task(run(threads, work, Body()))
            await asyncio.to_thread(begun.wait)
            body = Body()
            held = weakref.ref(body)
            waiting = asyncio.create_task(run(threads, work, body))
            del body
            await asyncio.sleep(0)
            for task in (running, waiting):
                task.cancel()
            await asyncio.wait([waiting])
            del waiting, task
            assert held() is None
            running.cancel()
            await asyncio.sleep(0)
            assert not running.done()
            free.set()
            await asyncio.wait([running])
            assert running.cancelled()

    asyncio.run(main())
