"""Probabilities to the text of predictions, for all images of a request at once.

Objects and `json.dumps` take eight times as long, for 1,024 images some milliseconds, and nobody else is answered
meanwhile. A number is written with all its digits, so that it has a fixed place in a line that is otherwise the same
for every image.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.errors import Unacceptable

Text = npt.NDArray[np.uint8]  # characters along the last axis

_ONE = 1_000_000  # what probabilities are counted in: PROBABILITY_DIGITS
_FRONT = np.array([list(b"%.3f" % (number / 1000)) for number in range(1001)], np.uint8)  # 0.123
_REST = np.array([list(b"%03d" % number) for number in range(1000)], np.uint8)  # 456
_WIDTH = len("0.123456")


class PredictionWriter:
    """Writes the answers of one bundle, JSON; with a `threshold`, each prediction says whether it is confident."""

    def __init__(self, model: Mapping[str, str], labels: Sequence[str], threshold: float | None) -> None:
        self._start = b'{"model":%b,"predictions":[' % json.dumps(dict(model), separators=(",", ":")).encode()
        self._threshold = threshold
        names = [json.dumps(label).encode() for label in labels]
        self._heads = [b'{"label":%b,"index":%d,"probability":' % (name, index) for index, name in enumerate(names)]
        self._names = [name + b":" for name in names]
        self._line = np.frombuffer(b",".join(name + b"0" * _WIDTH for name in self._names), np.uint8)
        ends = np.cumsum([len(name) + _WIDTH + 1 for name in self._names]) - 1  # of the numbers; a comma follows
        self._places = ends[:, None] + np.arange(-_WIDTH, 0)  # of each number's characters in the line

    def write(self, probabilities: Probabilities, top_k: int | None = None, pixels: Pixels | None = None) -> bytes:
        """One prediction for each row of probabilities [n, classes], of all labels in their order or the `top_k` best.

        With `pixels`, uint8 [n, 32, 32, 3], each also holds what the network saw. Raises Unacceptable when labels are
        fewer than `top_k`.
        """
        if top_k is not None and top_k > len(self._names):
            raise Unacceptable(f"top_k={top_k} is more than the model's {len(self._names)} labels.")
        # What a sum rounded to above 1 is 1: the digits have no room for more.
        millionths = np.rint(probabilities.astype(np.float64) * _ONE).clip(0, _ONE).astype(np.int64)
        best = probabilities.argmax(1)
        rows = np.arange(len(best))
        numbers = decimals(millionths)
        predictions = zip(
            map(self._heads.__getitem__, best.tolist()),
            lines(numbers[rows, best]),
            self._verdicts(millionths[rows, best] / _ONE),
            self._all(numbers) if top_k is None else self._best(numbers, rank(millionths)[:, :top_k]),
            [b"}}"] * len(best) if pixels is None else map(seen, pixels),
            strict=True,
        )
        return self._start + b",".join(map(b"".join, predictions)) + b"]}"

    def _verdicts(self, probabilities: npt.NDArray[np.float64]) -> list[bytes]:
        if self._threshold is None:
            return [b',"probabilities":{'] * len(probabilities)
        texts = (b',"confident":false,"probabilities":{', b',"confident":true,"probabilities":{')
        return [texts[reached] for reached in (probabilities >= self._threshold).tolist()]

    def _all(self, numbers: Text) -> Iterator[bytes]:
        text = np.empty((len(numbers), len(self._line)), np.uint8)
        text[:] = self._line
        text[:, self._places] = numbers
        return lines(text)

    def _best(self, numbers: Text, ranked: npt.NDArray[np.int64]) -> Iterator[bytes]:
        for row, indices in zip(numbers, ranked.tolist(), strict=True):
            yield b",".join(self._names[index] + row[index].tobytes() for index in indices)


def decimals(millionths: npt.NDArray[np.int64]) -> Text:
    """Numbers from 0 to 1, [...] to [..., 8]."""
    thousandths, rest = np.divmod(millionths, 1000)
    text = np.empty((*millionths.shape, _WIDTH), np.uint8)
    text[..., :5] = _FRONT[thousandths]
    text[..., 5:] = _REST[rest]
    return text


def rank(millionths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The indices of each row, the largest number's first; equal ones stay in their order."""
    return (-millionths).argsort(1, kind="stable")


def lines(text: Text) -> Iterator[bytes]:
    """The rows of [n, characters]."""
    whole, width = text.tobytes(), text.shape[1]
    return (whole[start : start + width] for start in range(0, len(whole), width))


def seen(pixels: Pixels) -> bytes:
    """The end of a prediction, with base64 of uint8 [32, 32, 3], RGB."""
    return b'},"pixels":"%b"}' % b64encode(pixels.tobytes())
