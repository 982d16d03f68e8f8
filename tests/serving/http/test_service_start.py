"""What a server does with its settings and its bundles before it answers."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from bodies import DEFAULT, assert_right, pictures, post, raw
from conftest import MODELS, command, serving
from damaged import contradict_golden, copy_bundle, edit_manifest, flip_bit
from engines import without_cuda
from metrics_text import Figures

JOINED = "half\u200cspace"  # as Persian joins words, by what Python calls not printable


def serve_in_vain(tmp_path: Path, *options: str, **environment: str) -> str:
    """Run `bentoml serve` where it must stop by itself; all that it says."""
    home = str(tmp_path / "home")
    done = command("bentoml", "serve", "--port", "0", *options, check=False, BENTOML_HOME=home, **environment)
    assert done.returncode == 1
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CIFAR_MAX_BATCH", "0"),
        ("CIFAR_NOPE", "1"),
        ("CIFAR_ENGINE", "x"),
        ("CIFAR_MODEL", "x"),
        ("CIFAR_BUNDLES", "/nonexistent"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(tmp_path: Path, variable: str, value: str) -> None:
    (line,) = serve_in_vain(tmp_path, **{variable: value}).splitlines()
    assert line.startswith(f"error: {variable}")
    assert variable == "CIFAR_NOPE" or value in line


def test_a_port_that_is_taken_stops_the_start_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        (line,) = serve_in_vain(tmp_path, "--host", "127.0.0.1", "--port", address.rpartition(":")[2]).splitlines()
    assert line.startswith(f"error: {address} cannot be listened on (Address already in use); name another --port")


def test_a_port_that_is_none_stops_the_start_with_one_line(tmp_path: Path) -> None:
    """The system would take 65,536 more than another port for that one."""
    (line,) = serve_in_vain(tmp_path, "--host", "127.0.0.1", "--port", "65536").splitlines()
    assert line == "error: --port 65536 is no port; name one from 0 to 65535."


@pytest.mark.parametrize("file", ["model.int8.onnx", "golden.npz"])
def test_a_damaged_default_bundle_stops_the_start_with_one_line(tmp_path: Path, file: str) -> None:
    bundle = copy_bundle(MODELS / DEFAULT, tmp_path / "models" / DEFAULT)
    flip_bit(bundle / file)
    (line,) = serve_in_vain(tmp_path, CIFAR_BUNDLES=str(tmp_path / "models")).splitlines()
    assert line.startswith(f"error: {bundle / file} ")


@pytest.mark.parametrize("name", [b"\xff", b"a\n"])
def test_a_bundle_whose_name_nobody_can_write_stops_the_start_with_one_line(tmp_path: Path, name: bytes) -> None:
    for each in (DEFAULT, os.fsdecode(name)):
        copy_bundle(MODELS / DEFAULT, tmp_path / "models" / each)
    (line,) = serve_in_vain(tmp_path, CIFAR_BUNDLES=str(tmp_path / "models")).splitlines()
    assert line.startswith(f"error: CIFAR_BUNDLES={tmp_path / 'models'} holds {os.fsdecode(name)!r}, ")


@without_cuda
def test_asking_for_cuda_where_there_is_none_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (line,) = serve_in_vain(tmp_path, CIFAR_ENGINE="onnxruntime-cuda-fp32").splitlines()
    assert line.startswith("error: CIFAR_ENGINE='onnxruntime-cuda-fp32' needs a CUDA device")
    assert "CIFAR_ALLOW_FALLBACK=true" in line


@without_cuda
def test_where_the_cpu_may_stand_in_for_cuda_it_serves_and_is_reported_as_degraded(tmp_path: Path) -> None:
    with serving(tmp_path / "log", engine="onnxruntime-cuda-fp32", allow_fallback=True) as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            assert_right(post(client, raw(pictures(3))), pictures(3))
            models = client.get("/models").json()["models"]
    (model,) = (model for model in models if model["name"] == DEFAULT)
    assert (model["engine"], model["ready"]) == ("onnxruntime-cpu-int8", True)
    assert model["degraded"] == "onnxruntime-cuda-fp32: The driver finds no CUDA device."


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server of the default bundle and of copies of it, some of which must not be served."""
    folder = tmp_path_factory.mktemp("neighbours")
    for name in (DEFAULT, "damaged", "lying", "half", "short", JOINED, ".half.1.partial"):
        copy_bundle(MODELS / DEFAULT, folder / "models" / name)
    flip_bit(folder / "models" / "damaged" / "model.onnx")
    contradict_golden(folder / "models" / "lying")
    contradict_golden(folder / "models" / "half", "onnx-int8")
    edit_manifest(folder / "models" / "short", lambda manifest: manifest["labels"].pop())
    with serving(folder / "log", bundles=folder / "models") as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            yield client


def test_a_default_bundle_is_served_beside_broken_ones(neighbours: httpx.Client) -> None:
    assert_right(post(neighbours, raw(pictures(3))), pictures(3))


def test_broken_bundles_are_reported_and_not_served(neighbours: httpx.Client) -> None:
    failed = {model["name"]: model["reason"] for model in neighbours.get("/models").json()["failed"]}
    assert {"damaged", "lying"} <= set(failed)
    assert "model.onnx has sha256" in failed["damaged"]
    assert "golden images" in failed["lying"]
    for name in failed:
        response = post(neighbours, raw(pictures(1)), model=name)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
        assert name in response.json()["error"]["message"]
        assert "retry-after" not in response.headers  # it stays so until a restart


def test_every_bundle_says_in_how_many_workers_it_works(neighbours: httpx.Client) -> None:
    values = Figures(neighbours).values
    found = {dict(labels)["model"]: value for (name, labels), value in values.items() if name == "cifar_model_ready"}
    assert found == {DEFAULT: 1, "half": 1, JOINED: 1, "damaged": 0, "lying": 0, "short": 0}


def test_a_bundle_whose_fastest_engine_computes_something_else_gets_the_next(neighbours: httpx.Client) -> None:
    model = post(neighbours, raw(pictures(1)), model="half").json()["model"]
    assert "int8" not in model["engine"]


@pytest.mark.parametrize("name", ["half", JOINED])
def test_a_bundle_is_named_by_its_folder_everywhere(neighbours: httpx.Client, name: str) -> None:
    assert post(neighbours, raw(pictures(1)), model=name).json()["model"]["name"] == name
    assert name in [model["name"] for model in neighbours.get("/models").json()["models"]]


def test_a_bundle_with_fewer_labels_than_outputs_is_not_served(neighbours: httpx.Client) -> None:
    assert post(neighbours, raw(pictures(1)), model="short").status_code == 503


def test_what_an_interrupted_export_left_is_no_bundle(neighbours: httpx.Client) -> None:
    assert post(neighbours, raw(pictures(1)), model=".half.1.partial").status_code == 404


def test_a_default_bundle_that_computes_something_else_never_becomes_ready(tmp_path: Path) -> None:
    contradict_golden(copy_bundle(MODELS / DEFAULT, tmp_path / "models" / DEFAULT))
    copy_bundle(MODELS / DEFAULT, tmp_path / "models" / "sound")
    with serving(tmp_path / "log", bundles=tmp_path / "models") as server:
        transport = httpx.HTTPTransport(retries=10)  # the port is not open for the first second
        with httpx.Client(base_url=server.url, transport=transport, timeout=60) as client:
            assert client.get("/readyz").status_code == 503
            assert client.get("/livez").status_code == 200
            response = post(client, raw(pictures(1)))
            assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
            assert "retry-after" not in response.headers
            assert post(client, raw(pictures(3)), model="sound").json()["model"]["name"] == "sound"
            assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize("engine", ["onnxruntime-cpu-fp32", "torchscript-cpu-fp32"])
def test_every_engine_of_the_processor_can_be_asked_for(tmp_path: Path, engine: str) -> None:
    with serving(tmp_path / "log", engine=engine) as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            response = post(client, raw(pictures(70)))
            assert response.json()["model"]["engine"] == engine
            assert_right(response, pictures(70))


def test_what_cannot_be_answered_in_time_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path / "log", timeout=0.001) as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            response = post(client, raw(pictures(1000)))
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_passed")


def test_what_finds_the_queue_full_is_told_when_to_come_again(tmp_path: Path) -> None:
    with serving(tmp_path / "log", max_images=1000, max_queue=1000, max_batch=1) as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=60) as client, ThreadPoolExecutor(6) as threads:
            responses = list(threads.map(lambda _: post(client, raw(pictures(1000))), range(6)))
    refused = [response for response in responses if response.status_code != 200]
    assert 0 < len(refused) < len(responses)
    for response in refused:
        assert (response.status_code, response.json()["error"]["code"]) == (429, "queue_full")
        assert int(response.headers["retry-after"]) >= 1
