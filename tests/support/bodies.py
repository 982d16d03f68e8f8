"""Requests as bytes, and what an engine that runs alone says of the same pixels."""

import io
import json
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import onnxruntime
from conftest import MODELS
from PIL import Image

from cifar_models.bundle import Probabilities, read_manifest
from cifar_models.picture import Pixels
from export.golden import smooth_images
from serving.engines.registry import ENGINES
from serving.settings import load_settings

DEFAULT = load_settings({}).model
LABELS = read_manifest(MODELS / DEFAULT).labels
BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
RAW = "application/octet-stream"

# Answers are rounded to 6 digits, that is by up to 5e-7. On the CPU where this was measured a batch of any size gave
# each image the very bits that it gets alone, in int8 too; the rest is room for a processor whose kernels sum
# differently. Two different pictures differ by 0.1 and more.
ATOL = 1e-5


class Body(NamedTuple):
    """What a request carries."""

    content: bytes
    content_type: str


@cache
def pictures(count: int) -> Pixels:
    """Different images uint8 [count, 32, 32, 3] that networks answer with confidence."""
    return smooth_images(count)


def encode(pixels: Pixels, kind: str = "PNG") -> bytes:
    """An encoded picture; WEBP without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


def png(pixels: Pixels) -> Body:
    return Body(encode(pixels), "image/png")


def part(name: str, data: bytes, filename: str = "picture.png") -> bytes:
    """One file of a form."""
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: image/png\r\n\r\n".encode() + data + b"\r\n"


def field(name: str, value: str) -> bytes:
    """One text field of a form."""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def form(*parts: bytes) -> Body:
    return Body(b"".join(parts) + f"--{BOUNDARY}--\r\n".encode(), FORM)


def document(images: list[Any], **options: Any) -> Body:
    return Body(json.dumps({"images": images, **options}).encode(), JSON)


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def raw(images: Pixels) -> Body:
    return Body(images.tobytes(), RAW)


def headers(body: Body) -> dict[str, str]:
    return {"Content-Type": body.content_type} if body.content_type else {}


def post(client: httpx.Client, body: Body, **query: Any) -> httpx.Response:
    return client.post("/classify", content=body.content, headers=headers(body), params=query)


def probabilities(response: httpx.Response) -> Probabilities:
    """[n, classes] of an answer that holds them all."""
    assert response.status_code == 200, response.text
    predictions = response.json()["predictions"]
    assert all(list(prediction["probabilities"]) == LABELS for prediction in predictions)
    return np.array([list(prediction["probabilities"].values()) for prediction in predictions], np.float32)


@cache
def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run_file(path: Path, images: Pixels) -> Probabilities:
    """Probabilities [n, classes], one image at a time, by ONNX Runtime alone."""
    rows = [session(path).run(["probabilities"], {"images": image[None]})[0] for image in images]
    return np.concatenate(rows)


def assert_right(response: httpx.Response, images: Pixels) -> None:
    """The answer holds, in order, what the file that the server runs gives each image alone on the CPU."""
    found = probabilities(response)
    model = response.json()["model"]
    kind = ENGINES[model["engine"]]  # onnxruntime-cpu-int8 where there is no GPU
    artifact = read_manifest(MODELS / DEFAULT).find(kind.artifact)
    assert artifact is not None
    assert model == {"name": DEFAULT, "version": artifact.sha256[:12], "engine": model["engine"]}
    expected = run_file(MODELS / DEFAULT / ("model.int8.onnx" if "int8" in kind.artifact else "model.onnx"), images)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= (ATOL if model["engine"].startswith("onnxruntime-cpu") else kind.atol)
