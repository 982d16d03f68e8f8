"""One bundle that is served: its batcher, whether its engine works, and what it tells."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil

import numpy as np

from serving.batching.batcher import Batcher
from serving.batching.health import Health
from serving.engines.bundles import LoadedBundle
from serving.engines.golden import check_golden, golden_images
from serving.http.predictions import PredictionWriter
from serving.observing.metrics import Metrics, ModelMetrics
from serving.settings import Settings

_HUNG = 5.0  # seconds, at least, that an engine may take for a batch; no longer than a request may, if that is more


@dataclass(frozen=True, slots=True)
class Serving:
    """A loaded bundle, the batcher in front of it, and whether its engine still works."""

    loaded: LoadedBundle
    batcher: Batcher
    health: Health
    description: dict[str, str]
    writer: PredictionWriter
    metrics: ModelMetrics
    patience: float  # seconds after which a batch counts as one that never ends

    def look(self) -> None:
        """Notice an engine that hangs, and tell whether it is asked and how many images wait for it."""
        seconds = self.batcher.oldest
        if seconds > self.patience:
            self.health.note_hung(seconds)
        self.metrics.ready(not self.health.broken)
        self.metrics.queue(self.batcher.waiting)


def serve(loaded: LoadedBundle, settings: Settings, metrics: Metrics, give_up: Callable[[str], None]) -> Serving:
    """Put a batcher in front of a bundle's engine; its golden images are what tests it later.

    `give_up` is told the name of a bundle whose engine does not come back.
    """

    async def self_test() -> None:
        images = await asyncio.to_thread(golden_images, loaded.bundle)
        deadline = asyncio.get_running_loop().time() + settings.timeout
        parts = np.array_split(images, ceil(len(images) / settings.max_queue))  # more could not wait at once
        probabilities = [await batcher.classify(part, deadline=deadline) for part in parts]
        await asyncio.to_thread(check_golden, loaded.bundle, loaded.engine_name, np.concatenate(probabilities))
        if (seconds := batcher.oldest) > patience:
            raise RuntimeError(f"one of its lanes has had a batch for {seconds:.1f} s")

    patience = max(_HUNG, settings.timeout)
    description = loaded.describe()
    health = Health(description["name"], self_test, partial(give_up, description["name"]))
    told = metrics.model(description)
    batcher = Batcher(
        loaded.engine,
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
        observers=[health.note, told.batch],
    )
    writer = PredictionWriter(description, loaded.labels, loaded.threshold)
    return Serving(loaded, batcher, health, description, writer, told, patience)
