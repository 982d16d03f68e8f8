"""What is sent, and what must come back: pictures made by a formula, and their probabilities by the file alone."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.peers.model import INT8_FILE, LABELS, load_session, run
from cifar_models.bundle import Probabilities
from cifar_models.errors import InputError
from cifar_models.picture import Pixels
from export.golden import smooth_images

TOLERANCE = 1e-3  # of a probability: room for other sums in other batches
_APART = 0.02  # at least, in some label, so that no picture's answer passes for another's
_BOUNDARY = "a-boundary"

REQUESTS = 64  # different ones of each kind
BULK = 256  # images of a request of raw pixels


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one kind: `bodies[i]` must be answered with `expected[i]`, float32 [images, classes]."""

    content_type: str
    bodies: Sequence[bytes]
    expected: Sequence[Probabilities]
    tolerance: float = TOLERANCE  # of a probability

    @property
    def images(self) -> int:
        """Of each request."""
        return len(self.expected[0])

    def is_right(self, index: int, answer: bytes) -> bool:
        """Whether `answer` is what request `index` must get."""
        found, expected = read_answer(answer), self.expected[index]
        return found.shape == expected.shape and bool(np.abs(found - expected).max() <= self.tolerance)


def single_pictures(file: Path = INT8_FILE, *, tolerance: float = TOLERANCE) -> Workload:
    """One PNG per request, as a form. `file` is an ONNX file that gives the right answers."""
    images, expected = different_images(REQUESTS, file)
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"
    bodies = [form(encode(image)) for image in images]
    return Workload(content_type, bodies, np.split(expected, len(expected)), tolerance)


def raw_batches(file: Path = INT8_FILE, *, size: int = BULK, tolerance: float = TOLERANCE) -> Workload:
    """`size` images of raw pixels per request, in another order in each."""
    images, expected = different_images(REQUESTS, file)
    orders = [(np.arange(size) + shift) % REQUESTS for shift in range(4)]
    bodies = [images[order].tobytes() for order in orders]
    return Workload("application/octet-stream", bodies, [expected[order] for order in orders], tolerance)


@cache
def different_images(count: int, file: Path) -> tuple[Pixels, Probabilities]:
    """Images uint8 [count, 32, 32, 3] that `file` answers differently, each by more than `_APART`, and the answers.

    Raises InputError when the file does not tell so many apart.
    """
    session = load_session(file)
    images = smooth_images(8 * count)
    answers = np.concatenate([run(session, image[None]) for image in images])
    chosen: list[int] = []
    for index, answer in enumerate(answers):
        if all(np.abs(answer - answers[other]).max() > _APART for other in chosen):
            chosen.append(index)
    if len(chosen) < count:
        raise InputError(
            f"The model answers only {len(chosen)} of {len(images)} pictures differently; {count} must be."
        )
    return images[chosen[:count]], answers[chosen[:count]]


def encode(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def form(picture: bytes) -> bytes:
    disposition = 'Content-Disposition: form-data; name="images"; filename="picture.png"'
    head = f"--{_BOUNDARY}\r\n{disposition}\r\nContent-Type: image/png\r\n\r\n"
    return head.encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()


def read_answer(body: bytes) -> Probabilities:
    """Probabilities [images, classes] of our answer or of a peer's; of no images when it is neither."""
    try:
        rows = [[row[label] for label in LABELS] for row in find_rows(json.loads(body))]
        return np.array(rows, np.float32).reshape(-1, len(LABELS))
    except (ValueError, TypeError, KeyError):
        return np.empty((0, len(LABELS)), np.float32)


def find_rows(answer: Any) -> list[dict[str, float]]:
    """Probabilities by label: ours are in `predictions`, a peer's alone or in a list."""
    if isinstance(answer, dict) and "predictions" in answer:
        return [prediction["probabilities"] for prediction in answer["predictions"]]
    return answer if isinstance(answer, list) else [answer]
