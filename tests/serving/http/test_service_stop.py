"""A worker that stops or dies: what it accepted is answered, who comes later is refused, another one takes over."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from bodies import DEFAULT, assert_right, pictures, post, raw
from conftest import MODELS, ROOT, ServerProcess, serving
from damaged import copy_bundle
from memory import workers
from wire import PATIENCE, connected, post_head, read_to_end, sending

# In every process of the server: a white image hangs the engine for ever, in a thread that Python waits for at its end.
HANGING = """
import threading
from concurrent.futures import ThreadPoolExecutor
from serving.batching import health
from serving.engines.onnx import OnnxCpu
from serving.http import drain, serving

health._PATIENCE = drain._SPARE = 1
serving._HUNG = 0
classify = OnnxCpu.__call__

def hang(engine, *parts):
    if parts[0].min() == 255:
        ThreadPoolExecutor(1).submit(threading.Event().wait).result()
    return classify(engine, *parts)

OnnxCpu.__call__ = hang
"""
# The clock that Tornado, on which BentoML's parent process runs, sees: put back an hour whenever it is looked at.
PUT_BACK = """
import time
from itertools import count
from types import SimpleNamespace
from tornado import ioloop

hours = count()
ioloop.time = SimpleNamespace(time=lambda: time.time() - 3600 * next(hours))
"""
CLIENTS = 16
RECOVERY = 15.0  # seconds from a worker's death to the next answer


@pytest.fixture
def stopping(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that a test stops."""
    with serving(tmp_path / "log", timeout=30) as server:
        server.wait_until_ready()
        yield server


def ask_until_refused(server: ServerProcess, stop_after: int | None) -> list[httpx.Response]:
    """Ask over one connection after another until none is to be had; one client tells the server to stop on the way."""
    images = pictures(8)
    responses = []
    while True:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            try:
                while True:
                    responses.append(post(client, raw(images)))
                    if len(responses) == stop_after:
                        server.process.terminate()
                    if "close" in responses[-1].headers.get("connection", ""):
                        break
            except httpx.ConnectError:
                return responses


def test_who_has_sent_ahead_reads_whole_answers_after_sigterm(stopping: ServerProcess) -> None:
    received = b""
    ahead = b"GET /docs.json HTTP/1.1\r\nHost: here\r\n\r\n" * 200_000
    with connected(stopping, receive_buffer=4096) as connection, sending(connection, ahead):
        received += connection.recv(65536)
        stopping.process.terminate()
        while data := connection.recv(65536):  # and no reset
            received += data
    assert stopping.process.wait(timeout=60) == 0
    head, _, body = received[received.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head


def test_under_load_every_request_is_answered_or_cleanly_refused_after_sigterm(stopping: ServerProcess) -> None:
    with ThreadPoolExecutor(CLIENTS) as threads:
        found = list(threads.map(partial(ask_until_refused, stopping), (10, *(None,) * (CLIENTS - 1))))
    assert stopping.process.wait(timeout=60) == 0
    for responses in found:
        statuses = [response.status_code for response in responses]
        assert statuses == sorted(statuses)  # 200, and 503 from some moment on
        for response in responses:
            if response.status_code == 200:
                assert_right(response, pictures(8))
            else:
                assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
                assert (response.headers["connection"], response.headers["retry-after"]) == ("close", "1")


def test_a_request_that_was_accepted_before_sigterm_may_end_while_others_are_refused(stopping: ServerProcess) -> None:
    images = pictures(3)
    body = raw(images)
    with connected(stopping) as connection:
        head = post_head(len(body.content)).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")  # it is being read
        stopping.process.terminate()
        with httpx.Client(base_url=stopping.url, timeout=30) as client:
            while client.get("/readyz").status_code == 200:
                pass
            refused = post(client, body)
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        stopping.process.terminate()  # a second time, which changes nothing
        connection.sendall(body.content)
        assert_right(as_response(read_to_end(connection)), images)
    assert stopping.process.wait(timeout=60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(stopping.url)


def as_response(data: bytes) -> httpx.Response:
    head, _, content = data.partition(b"\r\n\r\n")
    return httpx.Response(int(head.split()[1]), content=content)


@pytest.mark.parametrize("whom", ["worker", "parent"])
def test_a_worker_that_is_replaced_leaves_the_port_open(tmp_path: Path, whom: str) -> None:
    with serving(tmp_path / "log") as server:
        server.wait_until_ready()
        (worker,) = workers(server)
        os.kill(*((worker, signal.SIGTERM) if whom == "worker" else (server.process.pid, signal.SIGHUP)))
        while Path(f"/proc/{worker}").exists():  # who asks it meanwhile is answered, or finds another worker
            with suppress(httpx.TransportError):
                httpx.get(f"{server.url}/livez", timeout=30)
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            assert_right(post(client, raw(pictures(3))), pictures(3))


def test_a_server_that_is_told_to_stop_while_it_replaces_its_worker_stops(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as server:
        server.wait_until_ready()
        (old,) = workers(server)
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + RECOVERY
        while workers(server) == [old]:  # until the new one has been started
            assert time.monotonic() < end, "the worker is not replaced"


def test_a_server_that_looks_for_changes_of_its_files_stops_like_any_other(tmp_path: Path) -> None:
    with serving(tmp_path / "log", "--reload") as server:  # which ends it by one SIGTERM
        server.wait_until_ready()


def changed(folder: Path, change: str) -> dict[str, str]:
    """Variables for a server whose Pythons begin with that."""
    (folder / "sitecustomize.py").write_text(change)
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


def test_a_worker_whose_engine_does_not_come_back_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path / "log", timeout=1, client_timeout=1, variables=changed(tmp_path, HANGING)) as server:
        server.wait_until_ready()
        (worker,) = workers(server)
        with httpx.Client(base_url=server.url, timeout=30) as client:
            assert post(client, raw(np.full((1, 32, 32, 3), 255, np.uint8))).status_code == 504
        end = time.monotonic() + PATIENCE
        while workers(server) == [worker]:
            assert time.monotonic() < end, server.log.read_text()
            with suppress(httpx.TransportError):
                httpx.get(f"{server.url}/livez", timeout=RECOVERY)
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while (response := post(client, raw(pictures(3)))).status_code == 504:  # the machine does other things too
                assert time.monotonic() < end
        assert_right(response, pictures(3))


@pytest.mark.parametrize("containerized", [False, True])
def test_after_a_worker_was_killed_the_server_answers_again_soon(tmp_path: Path, containerized: bool) -> None:
    variables = changed(tmp_path, PUT_BACK) | ({"BENTOML_CONTAINERIZED": "true"} if containerized else {})
    started = time.monotonic()
    with serving(tmp_path / "log", variables=variables) as server:
        server.wait_until_ready()
        start = time.monotonic() - started
        (worker,) = workers(server)
        os.kill(worker, signal.SIGKILL)
        killed = time.monotonic()
        server.wait_until_ready()
        # A start of the whole server takes longer than one of a worker: where it is slow, the machine is.
        assert time.monotonic() - killed < max(RECOVERY, 3 + start)
        with httpx.Client(base_url=server.url, timeout=30) as client:
            assert_right(post(client, raw(pictures(3))), pictures(3))


def test_a_bundle_whose_name_nobody_can_write_does_not_stop_the_next_worker(tmp_path: Path) -> None:
    copy_bundle(MODELS / DEFAULT, tmp_path / "models" / DEFAULT)
    with serving(tmp_path / "log", bundles=tmp_path / "models") as server:
        server.wait_until_ready()
        copy_bundle(MODELS / DEFAULT, tmp_path / "models" / os.fsdecode(b"\xff"))
        (worker,) = workers(server)
        os.kill(worker, signal.SIGKILL)
        server.wait_until_ready()
        assert workers(server) != [worker]
        assert httpx.get(f"{server.url}/metrics", timeout=30).status_code == 200
