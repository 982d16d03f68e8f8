"""The engine alone, in batches: the limit of what any server can do with it."""

import time

from bench.serving.server import ENGINE
from bench.serving.workload import different_images
from cifar_models.bundle import open_bundle
from cifar_models.errors import InputError
from serving.engine import ENGINES
from serving.settings import Settings

BATCHES = (1, 32, 64, 256)  # images


def engine_rates(seconds: float) -> dict[int, float]:
    """Images a second of our engine for each size of batch, asked for `seconds` each."""
    settings = Settings()
    bundle = open_bundle(settings.bundles / settings.model)
    kind = ENGINES[ENGINE]
    artifact = bundle.manifest.find(kind.artifact)
    if artifact is None:
        raise InputError(f"{bundle.folder} has no {kind.artifact}.")
    engine = kind.load(bundle.path(artifact), settings.engine_threads, settings.max_batch)
    images, _ = different_images(64)
    rates = {}
    for size in BATCHES:
        batch = images.repeat(-(-size // len(images)), axis=0)[:size]
        engine(batch)
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            engine(batch)
            count += size
        rates[size] = count / (time.perf_counter() - started)
    return rates
