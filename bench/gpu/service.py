"""The service under load, with each engine of the device: single pictures, and requests of 1,024 images."""

from dataclasses import asdict
from typing import Any

from bench.engines import load_engine, rate
from bench.gpu import engine
from bench.gpu.callers import call
from bench.gpu.context import Context
from bench.gpu.environment import first_line
from bench.gpu.record import Outcome
from bench.peers.model import BUNDLE
from bench.serving.errors import ServerDied
from bench.serving.server import OURS, running
from bench.serving.workload import raw_batches, single_pictures
from serving.settings import Settings

_FILE = BUNDLE / "model.onnx"  # gives the right answers, on the CPU
_TOLERANCE = 5e-3  # of a probability, as CUDA may compute in TF32: what the server allows of its golden images
_IMAGES, _MINIATURE_IMAGES = 1024, 16  # of a large request, and of the engine's largest batch
_CALLERS, _MINIATURE_CALLERS = (64, 8), (2, 1)  # of single pictures, of large requests
_SECONDS, _MINIATURE_SECONDS = 6.0, 0.5


def inputs(context: Context) -> dict[str, Any]:
    return {**engine.inputs(context), "images": images(context)}


def images(context: Context) -> int:
    return _MINIATURE_IMAGES if context.miniature else _IMAGES


def run(context: Context) -> Outcome:
    figures, missing = {}, []
    for name in engine.names(context):
        try:
            figures[name] = measure(context, name)
        except ServerDied as error:
            missing.append(f"{name}: the server did not start: {str(error).splitlines()[-1][:300]}")
        except Exception as error:  # a wrong answer, or an engine whose library is missing
            missing.append(f"{name}: {first_line(error)}")
    return Outcome(figures, missing)


def measure(context: Context, name: str) -> dict[str, Any]:
    """Both kinds of requests on one server, and what the engine does alone in batches of the same size."""
    seconds = _MINIATURE_SECONDS if context.miniature else _SECONDS
    single_callers, bulk_callers = _MINIATURE_CALLERS if context.miniature else _CALLERS
    pictures = single_pictures(_FILE, tolerance=_TOLERANCE)
    bulk = raw_batches(_FILE, size=images(context), tolerance=_TOLERANCE)
    settings = Settings(max_batch=images(context))
    alone = rate(load_engine(name, settings.bundles / settings.model, settings), images(context), seconds)
    variables = {"CIFAR_ENGINE": name, "CIFAR_MAX_BATCH": str(images(context))}
    with running(OURS, pictures, variables) as (server, startup):
        call(server.port, pictures, callers=single_callers, seconds=seconds / 5)  # warms up
        return {
            "ready_seconds": startup.ready,
            "engine_images_per_second": alone,
            "single": asdict(call(server.port, pictures, callers=single_callers, seconds=seconds)),
            "bulk": asdict(call(server.port, bulk, callers=bulk_callers, seconds=seconds)),
        }
