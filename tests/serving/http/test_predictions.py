"""The text of predictions, beside what `json` makes of the same numbers."""

import json
from typing import Any

import numpy as np
import pytest

from cifar_models.bundle import Probabilities
from serving.answers import Answer
from serving.errors import Unacceptable
from serving.http.predictions import PredictionWriter

MODEL = {"name": 'a "b"', "version": "0", "engine": "é"}
LABELS = ['say "a"', "é", "\\", "100 %d"]
THRESHOLD = 0.75
# Of halves that binary fractions have exactly, of sums that rounding takes past 1 or below 0, and of equal ones.
ROWS = np.array(
    [
        [0, 0, 1, 0],
        [1.0000007, -1e-9, 0, 0],
        [0.25, 0.25, 0.25, 0.25],
        [0.1, 0.75, 0.1, 0.05],
        [0.1000005, 0.7499994, 0.15, 1e-7],
        [0.4999998, 0.5000002, 0, 0],  # both are written as 0.5
        [1e-9, 3e-7, 1e-9, 0.9999997],
    ],
    np.float32,
)


def predictions(probabilities: Probabilities, top_k: int | None, threshold: float | None) -> list[dict[str, Any]]:
    """As a program would write them that has all day."""
    found = []
    for row in probabilities:
        rounded = {label: min(1.0, max(0.0, round(float(p), 6))) for label, p in zip(LABELS, row, strict=True)}
        best = int(row.argmax())
        order = sorted(range(len(row)), key=lambda index: -row[index])[:top_k] if top_k else range(len(row))
        first = {"label": LABELS[best], "index": best, "probability": rounded[LABELS[best]]}
        confident = {} if threshold is None else {"confident": rounded[LABELS[best]] >= threshold}
        found.append(
            {**first, **confident, "probabilities": {LABELS[index]: rounded[LABELS[index]] for index in order}}
        )
    return found


@pytest.mark.parametrize("threshold", [None, THRESHOLD])
@pytest.mark.parametrize("top_k", [None, 1, 3, 4])
@pytest.mark.parametrize("rows", [ROWS[:1], ROWS, np.random.default_rng(0).dirichlet(np.ones(4), 1000)])
def test_the_text_says_what_the_numbers_are(rows: Any, top_k: int | None, threshold: float | None) -> None:
    written = json.loads(PredictionWriter(MODEL, LABELS, threshold).write(rows.astype(np.float32), top_k))
    expected = {"model": MODEL, "predictions": predictions(rows.astype(np.float32), top_k, threshold)}
    assert json.dumps(written) == json.dumps(expected)  # the order of the fields too


@pytest.mark.parametrize("threshold", [None, THRESHOLD])
def test_who_asks_inside_the_process_is_told_no_more_than_over_http(threshold: float | None) -> None:
    text = PredictionWriter(MODEL, LABELS, threshold).write(ROWS)
    told = Answer.model_validate_json(text)  # as `service.py` answers
    assert told.model_dump(exclude_none=True) == json.loads(text)


def test_more_labels_than_there_are_cannot_be_had() -> None:
    with pytest.raises(Unacceptable, match="top_k=5 is more than the model's 4 labels"):
        PredictionWriter(MODEL, LABELS, None).check(5)
