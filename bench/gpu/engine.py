"""The engines alone: images a second against the size of a batch, the limit of what the server can do with them."""

from typing import Any

from bench.engines import engine_names, load_engine, rate
from bench.gpu.context import Context
from bench.gpu.record import Outcome
from cifar_models.bundle import read_manifest
from cifar_models.errors import reason
from serving.settings import Settings

_BATCHES, _MINIATURE_BATCHES = (1, 8, 64, 256, 512, 1024), (1, 8)
_SECONDS, _MINIATURE_SECONDS = 1.5, 0.1


def inputs(context: Context) -> dict[str, Any]:
    settings = Settings()
    return {"weights": read_manifest(settings.bundles / settings.model).weights_sha256, "batches": batches(context)}


def batches(context: Context) -> list[int]:
    return list(_MINIATURE_BATCHES if context.miniature else _BATCHES)


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
    """Images a second by size of batch, with as many batches at a time as the engine has lanes."""
    settings = Settings(max_batch=max(batches(context)))
    engine = load_engine(name, settings.bundles / settings.model, settings)
    seconds = _MINIATURE_SECONDS if context.miniature else _SECONDS
    return {str(size): rate(engine, size, seconds, lanes=engine.lanes) for size in batches(context)}
