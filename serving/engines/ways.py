"""The ways that a batch may go in an engine, and the images that try all of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import ceil

import numpy as np

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.engines.staging import cut

_FEW = 4  # images that a way gets at least; all of them one at a time would make the start longer


@dataclass(frozen=True, slots=True)
class Way:
    """What computes some batches and no others, as a session or a CUDA graph: here those of `size` images."""

    size: int
    classify: Callable[[Pixels], Probabilities]

    @property
    def share(self) -> int:
        """How many images try it: those of a whole batch, or of several small ones."""
        return max(self.size, _FEW)


def classify_by_all(ways: Iterable[Way], images: Pixels) -> Sequence[Probabilities]:
    """The probabilities of all images, again and again until every way has had its share."""
    ways = list(ways)
    times = ceil(sum(way.share for way in ways) / len(images))
    answers: list[Probabilities] = []
    left = np.concatenate([images] * times)
    for way in cycle(ways):
        share, left = np.split(left, [way.share])
        answers += map(way.classify, cut(share, way.size))
        if not len(left):
            break
    return np.array_split(np.concatenate(answers), times)
