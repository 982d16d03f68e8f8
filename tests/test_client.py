"""The client's answers are the server's: of every kind of image, in order, of any number; and its errors say why."""

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from asking import KINDS, MODEL, URL, answer_all, answered, count_images, mocked, predictions, refused
from bodies import DEFAULT, Body, encode, pictures, post, raw
from conftest import ROOT, ServerProcess
from PIL import Image

from cifar_models.picture import Pixels, to_pixels
from serving.client import Answer, BadInput, ClassifyError, Models, Unavailable

ATOL = 1e-3  # a GPU sums batches of different sizes differently; two of these pictures differ by 0.1 and more

pytestmark = pytest.mark.parametrize("kind", KINDS, ids=("sync", "async"))


@pytest.fixture
def connect(kind: Any) -> Iterator[Callable[..., Any]]:
    """Make a client with these parameters, and close it after the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(kind(*arguments, **options))


def assert_same(answer: Answer, response: httpx.Response) -> None:
    """The client's answer holds what the server said to a request without it."""
    expected = Answer.model_validate(response.json())
    assert answer.model == expected.model
    assert [each.label for each in answer.predictions] == [each.label for each in expected.predictions]
    for found, right in zip(answer.predictions, expected.predictions, strict=True):
        assert found.index == right.index
        assert found.probability == pytest.approx(right.probability, abs=ATOL)
        assert found.probabilities == pytest.approx(right.probabilities, abs=ATOL)


def write(path: Path, pixels: Pixels, kind: str = "PNG") -> Path:
    path.write_bytes(encode(pixels, kind))
    return path


# What can be classified


def test_one_picture_many_times(connect: Any, server: ServerProcess, tmp_path: Path) -> None:
    """Pillow reads a picture's file when it is first used, and must not in two threads at once."""
    pixels = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    with Image.open(write(tmp_path / "large.png", pixels)) as picture:
        answer = connect(server.url, batch_size=1).classify([picture] * 8)
    assert len({str(prediction) for prediction in answer.predictions}) == 1
    assert len(answer.predictions) == 8


def test_one_image_of_every_kind(connect: Any, server: ServerProcess, client: httpx.Client, tmp_path: Path) -> None:
    (image,) = pictures(1)
    path = write(tmp_path / "Katze, 1.png", image)
    asked = connect(server.url)
    for given in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), Image.fromarray(image), image):
        assert_same(asked.classify(given), post(client, raw(image[None])))


def test_any_mixture_is_answered_in_order(
    connect: Any, server: ServerProcess, client: httpx.Client, tmp_path: Path
) -> None:
    images = pictures(9)
    path = write(tmp_path / "0.png", images[0])
    mixture = [path, images[1:4], encode(images[4]), Image.fromarray(images[5]), images[6], str(path), images[7:9]]
    expected = images[[0, 1, 2, 3, 4, 5, 6, 0, 7, 8]]
    for batch_size in (1, 4, 256):
        for given in (mixture, tuple(mixture), iter(mixture)):
            assert_same(connect(server.url, batch_size=batch_size).classify(given), post(client, raw(expected)))


@pytest.mark.parametrize("encoding", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_an_encoded_picture_is_sent_as_it_is(
    connect: Any, server: ServerProcess, client: httpx.Client, encoding: str
) -> None:
    data = encode(pictures(1)[0], encoding)
    assert_same(connect(server.url).classify(data), post(client, Body(data, f"image/{encoding.lower()}")))


@pytest.mark.parametrize("count", [1, 2, 256, 257, 600])
def test_many_images_are_cut_into_requests_and_answered_as_one(
    connect: Any, server: ServerProcess, client: httpx.Client, count: int
) -> None:
    assert_same(connect(server.url).classify(pictures(count)), post(client, raw(pictures(count))))


@pytest.mark.parametrize(
    "change",
    [np.asfortranarray, lambda images: images[::-2], lambda images: images[..., ::-1], lambda images: images[:, ::-1]],
    ids=("fortran", "reversed", "bgr", "upside-down"),
)
def test_an_array_may_lie_in_memory_in_any_way(
    connect: Any, server: ServerProcess, client: httpx.Client, change: Any
) -> None:
    images = change(pictures(5))
    expected = post(client, raw(images))
    assert_same(connect(server.url).classify(images), expected)
    assert_same(connect(server.url).classify([*images]), expected)


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "LA",
        "P",
        "RGB",
        "RGBA",
        "I",
        "I;16",
        "I;16B",
        "F",
        "CMYK",
        "YCbCr",
        "HSV",
        "LAB",
        "PA",
        "RGBa",
        "RGBX",
    ],
)
def test_a_pillow_picture_of_any_mode_and_size_means_what_it_means_to_training(
    connect: Any, server: ServerProcess, client: httpx.Client, mode: str
) -> None:
    picture = Image.fromarray(pictures(1)[0]).resize((48, 40))
    through = {"La": "LA", "PA": "P", "I;16": "I", "I;16B": "I", "RGBa": "RGBA"}.get(mode)
    picture = (picture.convert(through) if through else picture).convert(mode)
    assert_same(connect(server.url).classify(picture), post(client, raw(to_pixels(picture)[None])))


def test_the_profile_of_a_pillow_picture_stays_here(connect: Any, server: ServerProcess, client: httpx.Client) -> None:
    """Or many small pictures with large profiles would be more than the server takes."""
    picture = Image.fromarray(pictures(1)[0])
    picture.info["icc_profile"] = np.random.default_rng(0).bytes(1024 * 1024)
    answer = connect(server.url).classify([picture] * 20)
    assert_same(answer, post(client, raw(np.repeat(pictures(1), 20, axis=0))))


def test_a_pillow_picture_is_turned_upright(
    connect: Any, server: ServerProcess, client: httpx.Client, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turned by a quarter
    Image.fromarray(pictures(1)[0]).save(tmp_path / "turned.jpg", exif=exif)
    with Image.open(tmp_path / "turned.jpg") as picture:
        assert_same(connect(server.url).classify(picture), post(client, raw(to_pixels(picture)[None])))
    assert_same(connect(server.url).classify(tmp_path / "turned.jpg"), post(client, raw(to_pixels(picture)[None])))


def test_the_options_reach_the_server(connect: Any, server: ServerProcess, client: httpx.Client) -> None:
    answer = connect(server.url).classify(pictures(3), model=DEFAULT, top_k=2)
    assert_same(answer, post(client, raw(pictures(3)), model=DEFAULT, top_k=2))
    assert [len(each.probabilities) for each in answer.predictions] == [2, 2, 2]
    with pytest.raises(ClassifyError, match="strict=true") as caught:
        connect(server.url).classify(Image.new("RGB", (33, 32)), strict=True)
    assert (caught.value.code, caught.value.status, caught.value.index) == ("unacceptable", 422, 0)


def test_the_models_are_listed(connect: Any, server: ServerProcess, client: httpx.Client) -> None:
    models = connect(server.url).models()
    assert models == Models.model_validate(client.get("/models").json())
    assert [model.name for model in models.models if model.default] == [DEFAULT]
    assert models.models[0].manifest["labels"]


# How it is sent


def test_pixels_travel_raw_and_all_else_as_a_form(kind: Any) -> None:
    types: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        types.append(request.headers["Content-Type"].partition(";")[0])
        return answer_all(request)

    asked, _ = mocked(kind, handle)
    image = pictures(1)[0]
    for given in (image, [image, pictures(2)], encode(image), [image, encode(image)], Image.fromarray(image)):
        asked.classify(given)
    assert types == ["application/octet-stream"] * 2 + ["multipart/form-data"] * 3


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
def test_a_request_holds_no_more_than_batch_size(kind: Any, count: int, sizes: list[int]) -> None:
    asked, _ = mocked(kind, answer_all, batch_size=3)
    answer = asked.classify(np.zeros((count, 32, 32, 3), np.uint8))
    assert [prediction.index for prediction in answer.predictions] == [size for size in sizes for _ in range(size)]


def test_large_pictures_go_in_small_requests(kind: Any) -> None:
    photo = bytes(3 * 1024 * 1024)
    asked, _ = mocked(kind, answer_all)
    answer = asked.classify([photo, photo, *pictures(5), photo])
    assert [prediction.index for prediction in answer.predictions] == [1, *[6] * 6, 1]


def test_images_that_are_too_many_for_one_request_go_in_halves(
    connect: Any, server: ServerProcess, client: httpx.Client
) -> None:
    images = np.resize(pictures(100), (1025, 32, 32, 3))  # the server takes 1,024
    answer = connect(server.url, batch_size=5000).classify(images, top_k=1)
    assert_same(
        Answer(model=answer.model, predictions=answer.predictions[:1000]), post(client, raw(images[:1000]), top_k=1)
    )
    assert len(answer.predictions) == 1025


def test_pictures_of_too_many_pixels_for_one_request_go_in_halves(
    connect: Any, server: ServerProcess, client: httpx.Client
) -> None:
    picture = Image.fromarray(pictures(1)[0]).resize((1500, 1500))
    answer = connect(server.url).classify([encode(np.asarray(picture))] * 9)  # the server takes 16,000,000 pixels
    assert_same(answer, post(client, raw(np.stack([to_pixels(picture)] * 9))))


@pytest.mark.parametrize("response", [httpx.Response(413, html="nginx"), refused(413, "too_large")])
def test_halves_are_no_smaller_than_one_image(kind: Any, response: httpx.Response) -> None:
    sizes: list[int] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sizes.append(count_images(request))
        return httpx.Response(response.status_code, content=response.content)

    asked, _ = mocked(kind, handle)
    with pytest.raises(ClassifyError, match=r"^image 0: .*Shrink") as caught:
        asked.classify(pictures(9))
    assert sizes == [9, 4, 2, 1]
    assert caught.value.index == 0


@pytest.mark.parametrize("url", [f"{URL}/behind/a/proxy", f"{URL}/behind/a/proxy/"])
def test_the_address_may_have_a_path(kind: Any, url: str) -> None:
    paths: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        return answer_all(request)

    kind(url, transport=httpx.MockTransport(handle)).classify(pictures(1), top_k=2)
    assert paths == ["/behind/a/proxy/classify?top_k=2"]


@pytest.mark.parametrize(("key", "header"), [(None, None), ("secret", "Bearer secret")])
def test_the_key_is_sent_as_a_bearer_token(kind: Any, key: str | None, header: str | None) -> None:
    headers: list[str | None] = []

    def handle(request: httpx.Request) -> httpx.Response:
        headers.append(request.headers.get("Authorization"))
        return (
            httpx.Response(200, json={"models": [], "failed": []}) if request.method == "GET" else answer_all(request)
        )

    asked, _ = mocked(kind, handle, api_key=key)
    asked.classify(pictures(1))
    asked.models()
    assert headers == [header, header]


# What cannot be sent

UNUSABLE = [
    ("no image", [], "list holds no image; give at least one"),
    ("no image in an array", np.zeros((0, 32, 32, 3), np.uint8), r"uint8 with shape \[0, 32, 32, 3\]"),
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
        ({"batch_size": 0}, "batch_size=0 cannot be used; it must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size=2.5 cannot be used"),
        ({"retries": -1}, "retries=-1 cannot be used"),
        ({"timeout": 0}, "timeout=0 cannot be used"),
        ({"timeout": float("nan")}, "timeout=nan cannot be used"),
        ({"timeout": float("inf")}, "timeout=inf cannot be used"),
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
    asked, _ = mocked(kind, lambda _: httpx.Response(response.status_code, content=response.content))
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


# What it needs

ALONE = """
import sys
for name in ("numpy", "PIL", "torch", "starlette", "bentoml", "_bentoml_impl", "onnxruntime", "python_multipart"):
    sys.modules[name] = None  # as if it were not installed
from serving.client import AsyncClient, Client
import asyncio

async def main():
    async with AsyncClient(sys.argv[1]) as client:
        return await client.classify(sys.argv[2:])

if {kind!r} == "Client":
    with Client(sys.argv[1]) as client:
        answer = client.classify(sys.argv[2:])
else:
    answer = asyncio.run(main())
print(*(prediction.label for prediction in answer.predictions))
ours = {{name for name in sys.modules if name.partition(".")[0] in ("serving", "cifar_models", "service", "bentoml")}}
print(*sorted(name for name in ours if not name.startswith("serving.client") and sys.modules[name]))
"""


def test_it_works_without_the_server_and_numpy_and_pillow(kind: Any, server: ServerProcess) -> None:
    program = ALONE.format(kind=kind.__name__)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, server.url, "docs/ship.png", "docs/ship.png"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    labels, loaded = done.stdout.splitlines()
    assert labels == "ship ship"
    assert loaded.split() == ["cifar_models", "cifar_models.cifar10", "serving"]
