"""The client's answers are the server's: of every kind of image, in order, of any number."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from asking import KINDS, URL, answer_all, count_images, mocked, refused, write
from bodies import DEFAULT, Body, encode, pictures, post, raw
from conftest import ROOT, ServerProcess
from encoded import GREY, RGB, png_file
from PIL import Image

from cifar_models.picture import to_pixels
from serving.client import Answer, ClassifyError, Models

ATOL = 1e-3  # a GPU sums batches of different sizes differently; two of these pictures differ by 0.1 and more

pytestmark = pytest.mark.parametrize("kind", KINDS, ids=("sync", "async"))


def assert_same(answer: Answer, response: httpx.Response) -> None:
    """The client's answer holds what the server said to a request without it."""
    expected = Answer.model_validate(response.json())
    assert answer.model == expected.model
    assert [each.label for each in answer.predictions] == [each.label for each in expected.predictions]
    for found, right in zip(answer.predictions, expected.predictions, strict=True):
        assert found.index == right.index
        assert found.probability == pytest.approx(right.probability, abs=ATOL)
        assert found.probabilities == pytest.approx(right.probabilities, abs=ATOL)


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
    mixture = [path, images[1:4], encode(images[4]), Image.fromarray(images[5]), images[6], str(path)]
    mixture += [images[7:7], images[7:9]]
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


@pytest.mark.parametrize(
    "file",
    [
        png_file(np.repeat(np.arange(4, dtype=np.uint8), 256).reshape(32, 32), GREY, 2, (1,)),
        png_file(np.repeat(np.arange(16, dtype=np.uint8), 64).reshape(32, 32), GREY, 4, (5,)),
        png_file(np.repeat(np.arange(4, dtype=np.uint16), 768).reshape(32, 32, 3) * 20_000, RGB, 16, (20_000,) * 3),
    ],
    ids=("2-bit grey", "4-bit grey", "16-bit colours"),
)
def test_the_transparent_colour_of_a_pillow_picture_is_that_of_its_file(
    connect: Any, server: ServerProcess, client: httpx.Client, file: bytes
) -> None:
    with Image.open(io.BytesIO(file)) as picture:
        assert_same(connect(server.url).classify(picture), post(client, Body(file, "image/png")))


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
            httpx.Response(200, json={"models": [], "failed": [], "timeout": 5})
            if request.method == "GET"
            else answer_all(request)
        )

    asked, _ = mocked(kind, handle, api_key=key)
    asked.classify(pictures(1))
    asked.models()
    assert headers == [header, header]


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
    assert loaded.split() == ["cifar_models", "cifar_models.cifar10", "serving", "serving.answers"]
