"""What goes back: predictions or an error, as JSON."""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.responses import Response

from cifar_models.bundle import Probabilities
from cifar_models.manifest import PROBABILITY_DIGITS
from cifar_models.picture import Pixels
from serving.errors import Refusal, Unacceptable

_LONGEST_MESSAGE = 500  # characters


def predictions(
    labels: list[str], probabilities: Probabilities, top_k: int | None, threshold: float | None
) -> list[dict[str, Any]]:
    """One prediction for each row of probabilities [n, classes]; of all labels in their order, or of the `top_k` best.

    With a `threshold`, those whose probability reaches it are confident. Raises Unacceptable when labels are fewer
    than `top_k`.
    """
    if top_k is not None and top_k > len(labels):
        raise Unacceptable(f"top_k={top_k} is more than the model's {len(labels)} labels.")
    best = probabilities.argmax(axis=1).tolist()
    rows = np.round(probabilities.astype(np.float64), PROBABILITY_DIGITS).tolist()
    return [prediction(labels, row, index, top_k, threshold) for row, index in zip(rows, best, strict=True)]


def prediction(
    labels: list[str], row: list[float], best: int, top_k: int | None, threshold: float | None
) -> dict[str, Any]:
    ranked: dict[str, float] = dict(zip(labels, row, strict=True))
    if top_k is not None:
        ranked = dict(sorted(ranked.items(), key=lambda item: -item[1])[:top_k])
    confident = {} if threshold is None else {"confident": row[best] >= threshold}
    return {"label": labels[best], "index": best, "probability": row[best], **confident, "probabilities": ranked}


def add_pixels(answers: list[dict[str, Any]], images: Pixels) -> None:
    """Put into each prediction what the network saw for it: base64 of uint8 [32, 32, 3], RGB."""
    for answer, image in zip(answers, images, strict=True):
        answer["pixels"] = b64encode(image.tobytes()).decode()


def json_response(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, status, headers, media_type="application/json")


def refusal_response(refusal: Refusal) -> Response:
    error: dict[str, Any] = {"code": refusal.code, "message": shorten(str(refusal))}
    if refusal.index is not None:
        error["index"] = refusal.index
    return json_response({"error": error}, status=refusal.status, headers=refusal.headers)


def shorten(message: str) -> str:
    # A message repeats what was sent, which may be long.
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}…"
