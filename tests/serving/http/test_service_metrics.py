"""GET /metrics answers whether batching happens and where the time goes, for all workers together."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bodies import DEFAULT, encode, form, part, pictures, post, raw
from conftest import ROOT, ServerProcess, serving
from metrics_text import Figures, grown
from test_service_concurrency import post_together
from wire import PATIENCE, connected, post_head, read_to_end

from serving import __version__
from serving.observing.metrics import FAMILIES, FOLDER, Metrics

STAGES = ("cifar_receive_duration_seconds", "cifar_decode_duration_seconds")


def test_every_metric_is_there_with_its_help_and_type(client: httpx.Client) -> None:
    post(client, raw(pictures(1)))
    found = Figures(client).families
    assert {family.removesuffix("_total") for family in FAMILIES} == set(found)
    for name, family in FAMILIES.items():
        metric = found[name.removesuffix("_total")]
        assert metric.documentation == family.help
        kind = "histogram" if family.bounds else "counter" if name.endswith("_total") else "gauge"
        assert metric.type == kind


def test_a_request_is_counted_with_its_images_and_every_stage_is_timed(client: httpx.Client) -> None:
    before = Figures(client)
    post(client, form(*(part("images", encode(image)) for image in pictures(3))))
    after = Figures(client)
    answered = {"route": "/classify", "status": "200"}
    assert grown(before, after, "cifar_requests_total", **answered, code="") == 1
    assert grown(before, after, "cifar_images_total", model=DEFAULT) == 3
    whole = grown(before, after, "cifar_request_duration_seconds_sum", **answered)
    stages = [*STAGES, "cifar_queue_wait_seconds"]
    for stage in stages:
        assert grown(before, after, f"{stage}_count") == 1, stage
        assert grown(before, after, f"{stage}_sum") > 0, stage
    batches = grown(before, after, "cifar_inference_duration_seconds_count")  # each core's, at the same time
    assert 1 <= batches <= 3
    inference = grown(before, after, "cifar_inference_duration_seconds_sum") / batches
    assert 0 < sum(grown(before, after, f"{stage}_sum") for stage in stages) + inference <= whole


def test_a_histogram_is_one_as_prometheus_reads_it(client: httpx.Client) -> None:
    post(client, raw(pictures(5)))
    figures = Figures(client)
    for name, family in FAMILIES.items():
        if not family.bounds:
            continue
        count = figures.total(f"{name}_count")
        assert count == figures.total(f"{name}_bucket", le="+Inf") > 0
        found = [figures.total(f"{name}_bucket", le=str(float(bound))) for bound in family.bounds]
        assert sorted(found) == found
        assert found[-1] <= count


def test_whether_batching_happens_can_be_seen(server: ServerProcess, client: httpx.Client) -> None:
    before = Figures(client)
    for response in post_together(server.url, [raw(pictures(1))] * 64):
        assert response.status_code == 200, response.text  # what is refused is in no batch
    after = Figures(client)
    batches = grown(before, after, "cifar_batch_images_count", model=DEFAULT)
    assert grown(before, after, "cifar_batch_images_sum", model=DEFAULT) == 64
    assert 0 < batches < 64
    assert grown(before, after, "cifar_inference_duration_seconds_count", model=DEFAULT) == batches
    assert grown(before, after, "cifar_queue_wait_seconds_count", model=DEFAULT) == 64


@pytest.mark.parametrize(
    ("path", "content", "content_type", "status", "code"),
    [
        ("/classify", b"x", "image/png", 400, "unreadable"),
        ("/classify?model=nope", bytes(3072), "application/octet-stream", 404, "unknown_model"),
        ("/classify", b"x", "text/plain", 415, "unsupported_type"),
        ("/classify", b"x", "application/octet-stream", 422, "unacceptable"),
        ("/models", b"", "", 405, "method_not_allowed"),
        ("/livez", b"", "", 405, "method_not_allowed"),
    ],
)
def test_a_refused_request_is_counted_by_its_code(
    client: httpx.Client, path: str, content: bytes, content_type: str, status: int, code: str
) -> None:
    before = Figures(client)
    client.post(path, content=content, headers={"Content-Type": content_type})
    labels = {"route": path.partition("?")[0], "status": str(status)}
    after = Figures(client)
    assert grown(before, after, "cifar_requests_total", **labels, code=code) == 1
    assert grown(before, after, "cifar_request_duration_seconds_count", **labels) == 1
    assert grown(before, after, "cifar_images_total") == 0


@pytest.mark.parametrize("route", ["/classify", "/models"])
def test_a_request_that_breaks_off_in_its_body_is_counted_once(
    server: ServerProcess, client: httpx.Client, route: str
) -> None:
    before = Figures(client)
    chunked = post_head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunked = chunked.replace(b"/classify", route.encode())
    with connected(server) as connection:
        connection.sendall(chunked + b"1\r\nx\r\nno chunk\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 400")
    deadline = time.monotonic() + PATIENCE
    while grown(before, after := Figures(client), "cifar_requests_total", route=route) < 1:
        assert time.monotonic() < deadline
    assert grown(before, after, "cifar_requests_total", route=route, status="400", code="unreadable") == 1
    assert grown(before, after, "cifar_requests_total", route="other") == 0


def invent(client: httpx.Client, name: str) -> None:
    """Requests of what is not there."""
    client.get(f"/{name}")
    client.post(f"/classify/{name}", content=b"")
    client.request("PURGE", f"/{name}")
    client.request("PURGE", "/classify")
    post(client, raw(pictures(1)), model=name)
    client.get("/models", headers={"X-Request-ID": name})


def test_what_a_client_invents_makes_no_new_series(client: httpx.Client) -> None:
    post(client, raw(pictures(1)))
    invent(client, "first")
    Figures(client)  # a scrape is a request too
    before = Figures(client)
    for number in range(20):
        invent(client, f"invented-{number}")
    after = Figures(client)
    assert set(after.values) == set(before.values)
    assert grown(before, after, "cifar_requests_total", route="other", code="not_found") == 60


def test_the_gauges_say_what_is_served_and_that_nothing_waits(client: httpx.Client) -> None:
    model = post(client, raw(pictures(1))).json()["model"]
    figures = Figures(client)
    labels = {"model": model["name"], "version": model["version"], "engine": model["engine"]}
    assert figures.total("cifar_bundle_info", **labels) == 1
    assert figures.total("cifar_server_info", version=__version__) == 1
    assert figures.total("cifar_workers") == 1
    assert figures.total("cifar_in_flight_requests") == 1  # this scrape
    deadline = time.monotonic() + PATIENCE  # the queue is looked at now and then
    while Figures(client).total("cifar_queue_images", model=DEFAULT) != 0:
        assert time.monotonic() < deadline


def test_a_request_that_is_under_way_is_in_flight(server: ServerProcess, client: httpx.Client) -> None:
    seen: list[float] = []

    def body() -> Iterator[bytes]:
        yield b"x"
        deadline = time.monotonic() + PATIENCE  # until the server has read the headers
        while (found := Figures(client).total("cifar_in_flight_requests")) < 2:
            assert time.monotonic() < deadline
        seen.append(found)
        yield b"y"

    httpx.post(f"{server.url}/classify", content=body(), headers={"Content-Type": "image/png"})
    assert seen == [2]
    assert Figures(client).total("cifar_in_flight_requests") == 1


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("workers") / "log", workers=2, threads=1, log_sample=0) as server:
        server.wait_until_ready()
        yield server


def ask_until_two_have_answered(url: str) -> int:
    """Ask over new connections until both workers have answered, by the prefix of their requests' ids; how often."""
    prefixes: set[str] = set()
    asked = 0
    deadline = time.monotonic() + PATIENCE
    while len(prefixes) < 2:
        assert time.monotonic() < deadline
        response = httpx.post(f"{url}/classify", content=bytes(3072), headers={"Content-Type": "image/bmp"})
        prefixes.add(response.headers["x-request-id"].partition("-")[0])
        asked += 1
    return asked


def test_the_numbers_of_all_workers_are_added_up(workers: ServerProcess) -> None:
    asked = ask_until_two_have_answered(workers.url)
    deadline = time.monotonic() + PATIENCE
    for _ in range(10):  # whichever worker is asked
        with httpx.Client(base_url=workers.url) as client:
            figures = Figures(client)
            # The last request may have been answered and not yet counted.
            while figures.total("cifar_requests_total", route="/classify", code="unreadable") != asked:
                assert time.monotonic() < deadline
                figures = Figures(client)
        assert figures.total("cifar_workers") == 2
        assert figures.total("cifar_server_info", version=__version__) == 1
        assert figures.total("cifar_bundle_info", model=DEFAULT) == 1
        assert figures.total("cifar_in_flight_requests") == 1


def test_a_client_who_leaves_is_counted(server: ServerProcess, client: httpx.Client) -> None:
    before = Figures(client)

    def body() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionError("leaves")

    with pytest.raises(ConnectionError, match="leaves"):
        httpx.post(f"{server.url}/classify", content=body(), headers={"Content-Type": "image/png"})
    deadline = time.monotonic() + PATIENCE
    labels = {"route": "/classify", "status": "499", "code": "client_gone"}
    while grown(before, Figures(client), "cifar_requests_total", **labels) != 1:
        assert time.monotonic() < deadline


def test_requests_whose_time_is_over_are_counted_as_that(tmp_path: Path) -> None:
    with serving(tmp_path / "log", timeout=0.5, max_batch=1, threads=1, max_images=4096) as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            responses = post_together(
                server.url, [raw(pictures(2000))]
            )  # alone: with others it may be refused at the door
            assert {response.status_code for response in responses} <= {200, 504}
            late = sum(response.status_code == 504 for response in responses)
            figures = Figures(client)
    assert late
    assert figures.total("cifar_requests_total", code="deadline_passed") == late


def test_the_engine_of_a_worker_that_is_gone_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The next one takes over what it counted, and may have chosen another engine."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    gone, lives = ({"name": "net", "version": "1", "engine": engine} for engine in ("on a GPU", "on the processor"))
    program = f"from serving.observing.metrics import Metrics; Metrics().model({gone})"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    metrics = Metrics()
    metrics.model(lives)
    (shown,) = (line for line in metrics.render().decode().splitlines() if line.startswith("cifar_bundle_info{"))
    assert 'engine="on the processor"' in shown
