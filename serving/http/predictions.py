"""Probabilities to the text of predictions, for all images of a request at once.

Objects and `json.dumps` take many times as long, and nobody else is answered meanwhile. All that a prediction can say
is written beforehand, but for its numbers; they are integers, millionths, which are written in half a float's time.
"""

import json
import operator
from base64 import b64encode
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import ceil

import numpy as np

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.errors import Unacceptable

_ONE = 1_000_000  # what probabilities are counted in: PROBABILITY_DIGITS


class PredictionWriter:
    """Writes the answers of one bundle, JSON; with a `threshold`, each prediction says whether it is confident."""

    def __init__(self, model: Mapping[str, str], labels: Sequence[str], threshold: float | None) -> None:
        self._start = b'{"model":%b,"predictions":[' % json.dumps(dict(model), separators=(",", ":")).encode()
        # The least millionths that reach it; nothing reaches more than one.
        self._threshold = _ONE + 1 if threshold is None else ceil(Decimal(str(threshold)) * _ONE)
        names = [json.dumps(label).encode().replace(b"%", b"%%") for label in labels]
        verdicts = [b"", b""] if threshold is None else [b',"confident":false', b',"confident":true']
        # By whether it is confident, and by its best label.
        below_one = [heads(names, b"0.%06d", verdict) for verdict in verdicts]
        every_label = b",".join(b"%b:0.%%06d" % name for name in names)
        self._usual = [[head + every_label for head in group] for group in below_one]
        self._heads = [heads(names, b"%.6f", verdict) for verdict in verdicts]
        self._names = [b"%b:%%.6f" % name for name in names]

    def check(self, top_k: int | None) -> None:
        """Raises Unacceptable when labels are fewer than `top_k`."""
        if top_k is not None and top_k > len(self._names):
            raise Unacceptable(f"top_k={top_k} is more than the model's {len(self._names)} labels.")

    def write(self, probabilities: Probabilities, top_k: int | None = None, pixels: Pixels | None = None) -> bytes:
        """One prediction for each row of probabilities [n, classes], of all labels in their order or the `top_k` best.

        With `pixels`, uint8 [n, 32, 32, 3], each also holds what the network saw. `top_k` has passed `check`.
        """
        # A sum may be rounded to above 1.
        millionths = np.rint(probabilities.astype(np.float64) * _ONE).clip(0, _ONE).astype(np.int64)
        rows, best = millionths.tolist(), probabilities.argmax(1).tolist()
        if top_k is None:
            texts = self._of_all_labels(rows, best)
        else:
            chosen = [ranked[:top_k] for ranked in rank(probabilities)]
            texts = list(map(self._of, rows, best, chosen))
        if pixels is None:
            return self._start + b"}},".join(texts) + b"}}]}"
        return self._start + b",".join(map(operator.add, texts, map(seen, pixels))) + b"]}"

    def _of_all_labels(self, rows: list[list[int]], best: list[int]) -> list[bytes]:
        usual, threshold, labels = self._usual, self._threshold, range(len(self._names))
        return [
            usual[row[index] >= threshold][index] % (row[index], *row)
            if row[index] < _ONE
            else self._of(row, index, labels)
            for row, index in zip(rows, best, strict=True)
        ]

    def _of(self, row: list[int], best: int, labels: Sequence[int]) -> bytes:
        """The prediction of an image up to its end, with the probabilities of these labels."""
        head = self._heads[row[best] >= self._threshold][best] % (row[best] / _ONE)
        return head + b",".join([self._names[index] % (row[index] / _ONE) for index in labels])


def heads(names: list[bytes], number: bytes, verdict: bytes) -> list[bytes]:
    """A prediction up to the probabilities, for each label that may be the best."""
    return [
        b'{"label":%b,"index":%d,"probability":%b%b,"probabilities":{' % (name, index, number, verdict)
        for index, name in enumerate(names)
    ]


def rank(probabilities: Probabilities) -> list[list[int]]:
    """The indices of each row, the largest number's first; equal ones stay in their order."""
    ranked: list[list[int]] = (-probabilities).argsort(1, kind="stable").tolist()
    return ranked


def seen(pixels: Pixels) -> bytes:
    """The end of a prediction, with base64 of uint8 [32, 32, 3], RGB."""
    return b'},"pixels":"%b"}' % b64encode(pixels.tobytes())
