"""The engines alone: images a second against the size of a batch, the limit of what the server can do with them."""

from typing import Any

from bench.engines import engine_names, load_engine, rates_of
from bench.gpu.context import Context
from bench.gpu.record import Outcome
from cifar_models.bundle import read_manifest
from cifar_models.errors import reason
from serving.settings import Settings

# At full size and in miniature, as all such pairs.
_BATCHES = ([1, 8, 64, 256, 512, 1024], [1, 8])
_SECONDS = (1.5, 0.1)


def inputs(context: Context) -> dict[str, Any]:
    settings = Settings()
    return {
        "weights": read_manifest(settings.bundles / settings.model).weights_sha256,
        "batches": context.pick(_BATCHES),
    }


def run(context: Context) -> Outcome:
    figures, missing = {}, []
    for name in names(context):
        try:
            figures[name] = rates(context, name)
        except Exception as error:  # its library is missing, or has no such device
            missing.append(f"{name}: {reason(error)}")
    return Outcome(figures, missing)


def names(context: Context) -> list[str]:
    """The float32 engines of the device."""
    return [name for name in engine_names(cuda=context.cuda) if name.endswith("fp32")]


def rates(context: Context, name: str) -> dict[str, float]:
    """Images a second by size of batch."""
    sizes = context.pick(_BATCHES)
    settings = Settings(max_batch=max(sizes))
    engine = load_engine(name, settings.bundles / settings.model, settings)
    return {str(size): found for size, found in rates_of(engine, sizes, context.pick(_SECONDS)).items()}
