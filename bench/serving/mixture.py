"""Good and bad requests of every kind, and what each must get."""

import json
from base64 import b64encode
from dataclasses import dataclass

import numpy as np

from bench.peers.model import INT8_FILE
from bench.serving.server import HOST
from bench.serving.workload import TOLERANCE, Workload, different_images, encode, read_answer, single_pictures
from cifar_models.bundle import Probabilities

_RAW, _JSON, _PNG = "application/octet-stream", "application/json", "image/png"
_IMAGES = 64  # different ones
_GROUP = 8  # images of a request that holds several


@dataclass(frozen=True, slots=True)
class Request:
    """One request as bytes, which must get `expected`, float32 [images, classes], or the error `status` and `code`."""

    data: bytes
    status: int = 200
    expected: Probabilities | None = None
    code: str = ""

    def is_right(self, status: int, body: bytes) -> bool:
        if status != self.status:
            return False
        if self.expected is None:
            return bool(json.loads(body)["error"]["code"] == self.code)
        found = read_answer(body)
        return found.shape == self.expected.shape and bool(np.abs(found - self.expected).max() <= TOLERANCE)


def mixture() -> list[Request]:
    """Nine or ten good requests, of four kinds, to each bad one."""
    good, bad = good_requests(), bad_requests()
    return [request for index, each in enumerate(bad) for request in (*good[index :: len(bad)], each)]


def good_requests() -> list[Request]:
    images, expected = different_images(_IMAGES, INT8_FILE)
    forms: Workload = single_pictures()
    found = [
        Request(post(body, forms.content_type), expected=rows)
        for body, rows in zip(forms.bodies, forms.expected, strict=True)
    ]
    for start in range(0, _IMAGES, _GROUP):
        group = slice(start, start + _GROUP)
        texts = [b64encode(encode(image)).decode() for image in images[group]]
        found += [
            Request(post(images[group].tobytes(), _RAW), expected=expected[group]),
            Request(post(json.dumps({"images": texts}).encode(), _JSON), expected=expected[group]),
            Request(post(encode(images[start]), _PNG), expected=expected[start : start + 1]),
        ]
    return found


def bad_requests() -> list[Request]:
    images, _ = different_images(_IMAGES, INT8_FILE)
    picture = encode(images[0])
    return [
        Request(post(picture[: len(picture) // 2], _PNG), 400, code="unreadable"),
        Request(post(b"no picture", _PNG), 400, code="unreadable"),
        Request(post(b'{"images": [', _JSON), 400, code="unreadable"),
        Request(post(picture, _PNG, "model=nope"), 404, code="unknown_model"),
        Request(post(bytes(3072 * 2000), _RAW), 413, code="too_large"),
        Request(post(picture, "text/plain"), 415, code="unsupported_type"),
        Request(post(bytes(3071), _RAW), 422, code="unacceptable"),
        Request(post(picture, _PNG, "top_k=0"), 422, code="unacceptable"),
        Request(post(b'{"images": []}', _JSON), 422, code="unacceptable"),
    ]


def post(body: bytes, content_type: str, query: str = "") -> bytes:
    head = f"POST /classify?{query} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
