"""BentoML with its own batching, and settings as ours: bentoml serve bench.peers.bentoml_batchable:Classifier."""

import bentoml
import numpy as np
from PIL.Image import Image

from bench.peers.model import MAX_BATCH, answer, freeze_heap, load_session, run


@bentoml.service(logging={"access": {"enabled": False}}, tracing={"excluded_urls": ".*"})
class Classifier:
    """One picture or more per request, batches across requests."""

    def __init__(self) -> None:
        self.session = load_session()

    @bentoml.on_startup
    def freeze(self) -> None:
        freeze_heap()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH)
    def classify(self, images: list[Image]) -> list[dict[str, float]]:
        """The one argument, a list, is what BentoML joins and splits along the batch."""
        pixels = np.stack([np.asarray(image.convert("RGB")) for image in images])
        return [answer(row) for row in run(self.session, pixels)]
