"""BentoML with its own batching, as its documentation shows it: no settings, nothing tuned."""

import bentoml
import numpy as np
from PIL.Image import Image

from bench.peers.model import answer, load_session, run


@bentoml.service
class Classifier:
    """One picture or more per request, batches across requests."""

    def __init__(self) -> None:
        self.session = load_session()

    @bentoml.api(batchable=True)
    def classify(self, images: list[Image]) -> list[dict[str, float]]:
        """The one argument, a list, is what BentoML joins and splits along the batch."""
        pixels = np.stack([np.asarray(image.convert("RGB")) for image in images])
        return [answer(row) for row in run(self.session, pixels)]
