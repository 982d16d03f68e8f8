"""What the client cannot send and what the server refuses: which image it is, why, and what helps."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from asking import KINDS, MODEL, URL, again, answer_all, answered, count_images, mocked, predictions, refused, write
from bodies import encode, pictures
from conftest import ServerProcess
from PIL import Image

from serving.client import Answer, BadInput, ClassifyError, Unavailable

pytestmark = pytest.mark.parametrize("kind", KINDS, ids=("sync", "async"))


# What cannot be sent

UNUSABLE = [
    ("no image", [], "list holds no image; give at least one"),
    ("no image in an array", np.zeros((0, 32, 32, 3), np.uint8), "ndarray holds no image; give at least one"),
    ("no image in any array", [np.zeros((0, 32, 32, 3), np.uint8)], "list holds no image; give at least one"),
    ("levels from 0 to 1", np.zeros((32, 32, 3), np.float32), "Image 0 is an array of float32 .* it must be uint8"),
    ("signed levels", np.zeros((32, 32, 3), np.int8), "Image 0 is an array of int8"),
    ("booleans", np.zeros((32, 32, 3), bool), "Image 0 is an array of bool"),
    ("channels first", np.zeros((3, 32, 32), np.uint8), r"shape \[3, 32, 32\]; it must be .* transpose"),
    ("grey", np.zeros((32, 32), np.uint8), r"shape \[32, 32\]"),
    ("alpha", np.zeros((32, 32, 4), np.uint8), r"shape \[32, 32, 4\]"),
    ("another size", np.zeros((2, 64, 64, 3), np.uint8), r"shape \[2, 64, 64, 3\].*PIL\.Image\.fromarray"),
    ("five dimensions", np.zeros((1, 1, 32, 32, 3), np.uint8), r"shape \[1, 1, 32, 32, 3\]"),
    ("a flat array", np.zeros(3072, np.uint8), r"shape \[3072\]"),
    ("objects", np.full((32, 32, 3), None), "array of object"),
    ("dates", np.zeros((32, 32, 3), "datetime64[s]"), "Image 0 is of type ndarray"),
    ("a number", 7, "Image 0 is of type int; it must be a path"),
    ("nothing", None, "Image 0 is of type NoneType"),
    ("lists of levels", [[[0, 0, 0]]], "Image 0 is of type list"),
    ("an open file", io.BytesIO(b"GIF89a"), "Image 0 is of type BytesIO.*content of an open file"),
    ("a mapping", {"images": b""}, "Image 0 is of type dict"),
    ("no such file", "no/such.png", "Image 0, 'no/such.png', cannot be read: No such file or directory.*give a path"),
    ("a folder", Path("/"), "Image 0, '/', cannot be read: Is a directory"),
    ("a null byte", "a\0b", "cannot be read"),
]


@pytest.mark.parametrize(("images", "message"), [each[1:] for each in UNUSABLE], ids=[each[0] for each in UNUSABLE])
def test_what_cannot_be_classified_is_named_before_anything_is_sent(kind: Any, images: Any, message: str) -> None:
    asked, _ = mocked(kind, lambda _: pytest.fail("something was sent"))
    with pytest.raises(BadInput, match=message) as caught:
        asked.classify(images)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.code, caught.value.status) == ("bad_input", None)


def test_a_pillow_picture_of_damaged_data_is_named(kind: Any) -> None:
    data = encode(np.asarray(Image.fromarray(pictures(1)[0]).resize((300, 300))))
    asked, _ = mocked(kind, lambda _: pytest.fail("something was sent"))
    with (
        Image.open(io.BytesIO(data[: len(data) // 2])) as picture,
        pytest.raises(BadInput, match=r"Image 1, .*load") as caught,
    ):
        asked.classify([encode(pictures(1)[0]), picture])
    assert caught.value.index == 1


@pytest.mark.parametrize("bad", [np.zeros((1, 2), np.uint8), "no/such.png", 7])
def test_the_place_of_what_cannot_be_sent_counts_every_image(kind: Any, bad: Any) -> None:
    asked, _ = mocked(kind, lambda _: pytest.fail("something was sent"), batch_size=1)
    with pytest.raises(BadInput, match="Image 4") as caught:
        asked.classify([pictures(3), encode(pictures(1)[0]), bad])
    assert caught.value.index == 4


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may read every file")
def test_a_file_that_may_not_be_read_is_named(kind: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.png", pictures(1)[0])
    path.chmod(0)
    asked, _ = mocked(kind, lambda _: pytest.fail("something was sent"))
    with pytest.raises(BadInput, match=r"mine\.png', cannot be read: Permission denied"):
        asked.classify(path)


def test_a_file_that_vanishes_meanwhile_is_named(kind: Any, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{index}.png", image) for index, image in enumerate(pictures(2))]

    def handle(request: httpx.Request) -> httpx.Response:
        paths[1].unlink()
        return answer_all(request)

    asked, _ = mocked(kind, handle, batch_size=1, **({"concurrency": 1} if kind is KINDS[1] else {}))
    with pytest.raises(BadInput, match=r"Image 1, .*1\.png', cannot be read"):
        asked.classify(paths)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "127.0.0.1:3000"}, "'127.0.0.1:3000' is no address of a server; give one such as http://"),
        ({"url": "localhost:3000"}, "'localhost:3000' is no address"),
        ({"url": "ftp://server"}, "no address"),
        ({"url": "http://"}, "no address"),
        ({"url": "http://server:port"}, "no address"),
        ({"url": f"{URL}/classify?top_k=1"}, "no address"),
        ({"url": None}, "None is no address"),
        ({"url": "http://user:secret#@server"}, "'…@server' is no address .* in a password as %23"),
        ({"url": "http://user:secret?@server:3000"}, "'…@server:3000' is no address"),
        ({"url": "http://user:secret/@server"}, "'…@server' is no address"),
        ({"url": "ftp://user:secret@server"}, "'…@server' is no address"),
        ({"url": "http://server:107095"}, "'http://server:107095' cannot be used; its port must be from 1 to 65535"),
        ({"url": "http://user:secret@server:-1"}, "'…@server:-1' cannot be used; its port"),
        ({"url": "http://a..b:3000"}, r"'http://a\.\.b:3000' cannot be used; its host must have 1 to 63 characters"),
        ({"url": "http://.example:3000"}, "cannot be used; its host"),
        ({"url": f"http://user:secret@{'a' * 64}"}, "'…@a+' cannot be used; its host"),
        ({"batch_size": 0}, "batch_size=0 cannot be used; it must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size=2.5 cannot be used"),
        ({"retries": -1}, "retries=-1 cannot be used"),
        ({"timeout": 0}, "timeout=0 cannot be used"),
        ({"timeout": float("nan")}, "timeout=nan cannot be used"),
        ({"timeout": float("inf")}, "timeout=inf cannot be used"),
        ({"timeout": 1e10}, "timeout=10000000000.0 cannot be used; .* at least 0.001 and at most 2147483"),
        ({"timeout": None}, "timeout=None cannot be used"),
        ({"api_key": "secret\n"}, "strip the line's end"),
        ({"api_key": ""}, "api_key must be printable ASCII"),
        ({"api_key": "schlüssel"}, "api_key must be printable ASCII"),
        ({"url": "http://user:secret@server", "api_key": "another"}, "which would be sent instead of api_key"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        kind(**({"url": URL} | options))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("all_proxy", "secret://proxy"),
        ("all_proxy", "socks5://proxy"),
        ("https_proxy", "http://proxy:port"),
        ("no_proxy", "fe80::/10"),
        ("SSL_CERT_FILE", "no/such.pem"),
        ("SSLKEYLOGFILE", "no/such/file"),
    ],
)
def test_an_environment_that_cannot_be_used_is_named(
    kind: Any, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=f"the environment cannot be used: .* of .*{name.upper()}") as caught:
        kind(URL)
    assert ".." not in str(caught.value)


# What the server refuses


def test_a_refused_image_is_named_by_its_place_among_all(connect: Any, server: ServerProcess, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(encode(pictures(1)[0])[:60])
    with pytest.raises(ClassifyError, match=r"^image 4 \(.*damaged\.png\): The picture is damaged.*400") as caught:
        connect(server.url, batch_size=2).classify([*pictures(4), damaged, pictures(1)])
    assert (caught.value.code, caught.value.index, caught.value.status) == ("unreadable", 4, 400)
    assert caught.value.message.startswith("The picture is damaged")


@pytest.mark.parametrize(
    ("options", "status", "code", "way_out"),
    [
        ({"model": "nope"}, 404, "unknown_model", r"no model 'nope'.*client\.models\(\)"),
        ({"top_k": 11}, 422, "unacceptable", "top_k=11 is more"),
        ({"top_k": 0}, 422, "unacceptable", "top_k='0' cannot be used"),
    ],
)
def test_a_refused_option_is_named(
    connect: Any, server: ServerProcess, options: dict[str, Any], status: int, code: str, way_out: str
) -> None:
    with pytest.raises(ClassifyError, match=way_out) as caught:
        connect(server.url).classify(pictures(1), **options)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert not isinstance(caught.value, Unavailable | BadInput)


def test_one_picture_that_is_too_large_is_named(connect: Any, server: ServerProcess) -> None:
    large = encode(np.zeros((4001, 4000, 3), np.uint8))
    with pytest.raises(ClassifyError, match=r"^image 2: .* at most 16000000 are taken\. Shrink") as caught:
        connect(server.url).classify([*pictures(2), large])
    assert (caught.value.code, caught.value.status, caught.value.index) == ("too_large", 413, 2)


def test_another_address_of_the_server_is_doubted(connect: Any, server: ServerProcess) -> None:
    with pytest.raises(ClassifyError, match=r"nothing at /nope/classify.*Is the client's address") as caught:
        connect(f"{server.url}/nope").classify(pictures(1))
    assert (caught.value.code, caught.value.status) == ("not_found", 404)


@pytest.mark.parametrize(
    ("response", "code", "message"),
    [
        (httpx.Response(200, html="<h1>Welcome</h1>"), "bad_answer", "Welcome.*Is the client's address"),
        (httpx.Response(200, json={"model": MODEL}), "bad_answer", "predictions: Field required"),
        (httpx.Response(200, json=[]), "bad_answer", "cannot be used"),
        (httpx.Response(200, content=b""), "bad_answer", "cannot be used"),
        (answered(2), "bad_answer", "2 predictions for 1 images"),
        (httpx.Response(302, headers={"Location": "/login"}), "http_302", "Found.*Is the client's address"),
        (httpx.Response(308, headers={"Location": "https://there/classify"}), "http_308", "points to https://there/cl"),
        (httpx.Response(404, html="x" * 1000), "http_404", "Not Found.*x…'.*Is the client's address"),
        (httpx.Response(404, json={"detail": "Not Found"}), "http_404", "detail"),
        (httpx.Response(413, html="nginx"), "http_413", "nginx.*Shrink"),
        (httpx.Response(401), "http_401", "Unauthorized.*api_key"),
        (refused(403, "forbidden"), "forbidden", "Said so.*api_key"),
        (refused(500, "engine_failed"), "engine_failed", r"Said so\. \[HTTP 500, engine_failed\]"),
        (httpx.Response(502, html="Bad"), "http_502", "Ask later"),
        (refused(504, "deadline_passed"), "deadline_passed", "Ask later"),
    ],
)
def test_what_else_answers_is_told_with_the_way_out(
    kind: Any, response: httpx.Response, code: str, message: str
) -> None:
    asked, _ = mocked(kind, lambda _: again(response))
    with pytest.raises(ClassifyError, match=message) as caught:
        asked.classify(pictures(1), model="a/b")
    assert (caught.value.code, caught.value.status) == (code, response.status_code)
    assert isinstance(caught.value, Unavailable) == (response.status_code in (502, 504))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_a_newer_server_adds_is_ignored(kind: Any) -> None:
    content = {"model": {**MODEL, "region": "eu"}, "predictions": predictions(1, logits=[1.0]), "took": 0.1}
    asked, _ = mocked(kind, lambda _: httpx.Response(200, json=content))
    assert asked.classify(pictures(1)) == Answer.model_validate({"model": MODEL, "predictions": predictions(1)})
    asked, _ = mocked(kind, lambda _: refused(422, "unacceptable", index=0, help="https://…"))
    with pytest.raises(ClassifyError, match=r"image 0: Said so"):
        asked.classify(pictures(1))


def test_predictions_of_two_models_are_not_given_as_one(kind: Any) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        version = "old" if count_images(request) == 2 else "new"
        return httpx.Response(
            200, json={"model": {**MODEL, "version": version}, "predictions": predictions(count_images(request))}
        )

    asked, _ = mocked(kind, handle, batch_size=2)
    with pytest.raises(ClassifyError, match=r"part by cifarnet new.*classify again") as caught:
        asked.classify(pictures(3))
    assert caught.value.code == "mixed_models"


def test_an_error_survives_the_way_to_another_process(kind: Any) -> None:
    asked, _ = mocked(kind, lambda _: refused(400, "unreadable", index=0))
    with pytest.raises(ClassifyError) as caught:
        asked.classify(pictures(1))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), vars(copy)) == (type(caught.value), str(caught.value), vars(caught.value))
