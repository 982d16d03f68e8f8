"""Every body that POST /classify takes means the same pictures: over HTTP, against a real server."""

import io
import json
import re
from base64 import b64decode, encodebytes
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from bodies import (
    DEFAULT,
    JSON,
    LABELS,
    Body,
    assert_right,
    base64,
    document,
    encode,
    field,
    form,
    part,
    pictures,
    post,
    probabilities,
    raw,
)
from PIL import Image

from cifar_models.picture import Pixels, to_pixels
from serving.settings import available_cores

MORE_THAN_A_BATCH = 150  # the engine takes 64 at once


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("BMP", "image/x-ms-bmp"),
        ("PNG", "IMAGE/PNG; charset=binary"),
        ("PNG", "image/jpeg"),  # what the picture is stands in the picture
    ],
)
def test_a_raw_picture_is_one_image(client: httpx.Client, kind: str, content_type: str) -> None:
    for image in pictures(2):
        assert_right(post(client, Body(encode(image, kind), content_type)), image[None])


@pytest.mark.parametrize(
    ("kind", "content_type"), [("JPEG", "image/jpeg"), ("JPEG", "image/jpg"), ("GIF", "image/gif")]
)
def test_a_lossy_picture_is_what_pillow_decodes(client: httpx.Client, kind: str, content_type: str) -> None:
    data = encode(pictures(1)[0], kind)
    assert_right(post(client, Body(data, content_type)), to_pixels(Image.open(io.BytesIO(data)))[None])


def test_only_the_first_frame_of_a_gif_is_classified(client: httpx.Client) -> None:
    frames = [Image.fromarray(np.full((32, 32, 3), level, np.uint8)) for level in (0, 255)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert_right(post(client, Body(file.getvalue(), "image/gif")), np.zeros((1, 32, 32, 3), np.uint8))


@pytest.mark.parametrize("names", [["images"], ["image"], ["images"] * 5, ["image", "images", "image"]])
def test_the_files_of_a_form_are_answered_in_order(client: httpx.Client, names: list[str]) -> None:
    images = pictures(len(names))
    files = [part(name, encode(image)) for name, image in zip(names, images, strict=True)]
    assert_right(post(client, form(*files)), images)


def test_a_form_written_by_a_client_library_is_read(client: httpx.Client) -> None:
    images = pictures(3)
    files = [("images", (f"{index}.png", encode(image), "image/png")) for index, image in enumerate(images)]
    assert_right(client.post("/classify", files=files), images)


def as_base64(image: Pixels) -> Any:
    return base64(encode(image))


def as_base64_in_lines(image: Pixels) -> Any:
    return encodebytes(encode(image)).decode()


def as_levels(image: Pixels) -> Any:
    return image.tolist()


@pytest.mark.parametrize(
    "writers", [[as_base64], [as_base64_in_lines], [as_levels], [as_levels, as_base64, as_base64, as_levels]]
)
def test_json_takes_base64_and_levels_in_any_mixture(
    client: httpx.Client, writers: list[Callable[[Pixels], Any]]
) -> None:
    images = pictures(len(writers))
    body = document([write(image) for write, image in zip(writers, images, strict=True)])
    assert_right(post(client, body), images)


@pytest.mark.parametrize("count", [1, 2, 64, 65, MORE_THAN_A_BATCH])
def test_raw_pixels_are_as_many_images_as_their_length_says(client: httpx.Client, count: int) -> None:
    assert_right(post(client, raw(pictures(count))), pictures(count))


def test_more_files_than_a_batch_holds_are_answered_in_order(client: httpx.Client) -> None:
    images = pictures(MORE_THAN_A_BATCH)
    assert_right(post(client, form(*(part("images", encode(image)) for image in images))), images)


def test_a_body_sent_in_chunks_of_unknown_length_is_read(client: httpx.Client) -> None:
    body = raw(pictures(2))
    chunks = (body.content[start : start + 1000] for start in range(0, len(body.content), 1000))
    response = client.post("/classify", content=chunks, headers={"Content-Type": body.content_type})
    assert_right(response, pictures(2))


def test_probabilities_sum_to_one_and_the_label_is_the_largest(client: httpx.Client) -> None:
    response = post(client, raw(pictures(20)))
    rows = probabilities(response)
    assert rows.sum(axis=1) == pytest.approx(np.ones(20), abs=len(LABELS) * 0.5e-6 + 1e-6)  # each is rounded
    for row, prediction in zip(rows, response.json()["predictions"], strict=True):
        assert prediction["index"] == row.argmax()
        assert prediction["label"] == LABELS[prediction["index"]]
        assert prediction["probability"] == prediction["probabilities"][prediction["label"]]


@pytest.mark.parametrize("top_k", [1, 3, 10])
def test_top_k_gives_the_best_labels_first(client: httpx.Client, top_k: int) -> None:
    image = pictures(1)
    everything = post(client, raw(image)).json()["predictions"][0]
    best = sorted(everything["probabilities"].items(), key=lambda item: -item[1])[:top_k]
    bodies = [form(part("images", encode(image[0])), field("top_k", str(top_k))), document(image.tolist(), top_k=top_k)]
    for response in (post(client, raw(image), top_k=top_k), *(post(client, body) for body in bodies)):
        (prediction,) = response.json()["predictions"]
        assert list(prediction["probabilities"].items()) == best
        assert prediction["label"] == best[0][0]


def test_a_model_can_be_named(client: httpx.Client) -> None:
    response = post(client, raw(pictures(1)), model=DEFAULT)
    assert_right(response, pictures(1))


@pytest.mark.parametrize("preamble", [b"\r\n", b"This is a form.\r\nIt holds pictures.\r\n", b"--a-bound\r\n"])
def test_what_stands_before_a_form_and_after_it_means_nothing(client: httpx.Client, preamble: bytes) -> None:
    body = form(part("images", encode(pictures(1)[0])))
    assert_right(post(client, Body(preamble + body.content + b"That was all.", body.content_type)), pictures(1))


def test_the_header_of_a_field_may_go_on_in_the_next_line(client: httpx.Client) -> None:
    body = form(part("images", encode(pictures(1)[0])))
    folded = body.content.replace(b"form-data; ", b"form-data;\r\n\t")
    assert_right(post(client, Body(folded, body.content_type)), pictures(1))


def test_json_may_be_written_with_blanks(client: httpx.Client) -> None:
    images = pictures(3)
    content = json.dumps({"top_k": None, "images": [image.tolist() for image in images]}, indent=8).encode()
    assert_right(post(client, Body(b"\r\n\t" + content + b" ", JSON)), images)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (33, 32), (1, 1)])
def test_a_picture_of_any_size_is_fitted(client: httpx.Client, size: tuple[int, int]) -> None:
    picture = Image.fromarray(pictures(1)[0]).resize(size, Image.Resampling.BICUBIC)
    body = Body(encode(np.asarray(picture)), "image/png")
    assert_right(post(client, body), to_pixels(picture)[None])


@pytest.mark.parametrize("strict", ["true", "false"])
def test_strict_takes_pictures_that_fit(client: httpx.Client, strict: str) -> None:
    assert_right(post(client, Body(encode(pictures(1)[0]), "image/png"), strict=strict), pictures(1))


def test_what_the_network_saw_can_be_asked_for(client: httpx.Client) -> None:
    wide = np.repeat(pictures(1)[0], 3, axis=1)  # 32x96: its middle, shrunk to nothing
    response = post(client, document([base64(encode(wide)), pictures(2)[1].tolist()], pixels=True))
    seen = [b64decode(prediction["pixels"]) for prediction in response.json()["predictions"]]
    assert seen == [to_pixels(Image.fromarray(wide)).tobytes(), pictures(2)[1].tobytes()]
    assert all("pixels" not in prediction for prediction in post(client, raw(pictures(2))).json()["predictions"])


def test_the_answer_says_what_its_time_went_to(client: httpx.Client) -> None:
    header = post(client, raw(pictures(3))).headers["server-timing"]
    found = re.fullmatch(r"(.*), batch;desc=\"(\d+)\"", header)
    assert found is not None
    entries = dict(entry.split(";dur=") for entry in found[1].split(", "))
    assert list(entries) == ["receive", "decode", "queue", "inference", "total"]
    *steps, total = map(float, entries.values())
    assert 0 < sum(steps) < total
    assert int(found[2]) >= 3 / available_cores()  # which share the three images
