"""The engine alone, in batches: the limit of what any server can do with it."""

from bench.engines import BATCHES, load_engine, rate
from bench.serving.server import ENGINE
from serving.settings import Settings


def engine_rates(seconds: float) -> dict[int, float]:
    """Images a second of our engine for each size of batch, asked for `seconds` each."""
    settings = Settings()
    engine = load_engine(ENGINE, settings.bundles / settings.model, settings)
    return {size: rate(engine, size, seconds, lanes=engine.lanes) for size in BATCHES}
