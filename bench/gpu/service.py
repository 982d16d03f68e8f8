"""The service under load, with each engine of the device: single pictures, and requests of 1,024 images."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bench.engines import load_engine, rate
from bench.gpu import engine
from bench.gpu.callers import call
from bench.gpu.context import Context
from bench.gpu.record import Outcome
from bench.peers.model import BUNDLE
from bench.serving.server import OURS, ServerProcess, running
from bench.serving.workload import Workload, raw_batches, single_pictures
from cifar_models.errors import reason
from serving.engines.registry import AUTO, CUDA_ATOL
from serving.settings import Settings

_IMAGES = (1024, 16)  # of a large request, and of the engine's largest batch
_CALLERS = ((64, 8), (2, 1))  # of single pictures, of large requests
_SECONDS = (3.0, 0.1)
_WORKERS = (4, 2)  # of the server that may choose its engine; the others have one


def inputs(context: Context) -> dict[str, Any]:
    return {**engine.inputs(context), "images": context.pick(_IMAGES)}


def run(context: Context) -> Outcome:
    servers, missing = [], []
    alone: dict[str, float] = {}  # what each engine does by itself, measured once
    for name, count in [*((name, 1) for name in engine.names(context)), (AUTO, context.pick(_WORKERS))]:
        try:
            servers.append(measure(context, name, count, alone))
        except Exception as error:  # a wrong answer, a server that died, or an engine whose library is missing
            missing.append(f"{name}: {reason(error)}")
    return Outcome({"servers": servers} if servers else {}, missing)


def measure(context: Context, asked: str, workers: int, alone: dict[str, float]) -> dict[str, Any]:
    """Both kinds of requests on one server, and what its engine does alone in batches of the larger one."""
    seconds, callers, images = context.pick(_SECONDS), context.pick(_CALLERS), context.pick(_IMAGES)
    file = right_answers(context, asked)
    pictures = single_pictures(file, tolerance=CUDA_ATOL)
    bulk = raw_batches(file, size=images, tolerance=CUDA_ATOL)
    settings = Settings(max_batch=images)
    variables = {"CIFAR_ENGINE": asked, "CIFAR_MAX_BATCH": str(images), "CIFAR_WORKERS": str(workers)}
    with running(OURS, pictures, variables) as (server, startup):
        name = engine_of(server, settings.model)
        loads = [load(server, each, count, seconds) for each, count in zip((pictures, bulk), callers, strict=True)]
    if name not in alone:
        loaded = load_engine(name, settings.bundles / settings.model, settings)
        alone[name] = rate(loaded, images, seconds, lanes=loaded.lanes)
    return {
        "asked": asked,
        "engine": name,
        "workers": workers,
        "ready_seconds": startup.ready,
        "engine_images_per_second": alone[name],
        "loads": loads,
    }


def right_answers(context: Context, asked: str) -> Path:
    """The file that gives them, on the CPU; there a server that may choose takes int8."""
    return BUNDLE / ("model.int8.onnx" if asked == AUTO and not context.cuda else "model.onnx")


def engine_of(server: ServerProcess, model: str) -> str:
    served = json.loads(server.ask("GET", "/models")[1])["models"]
    return str(next(bundle["engine"] for bundle in served if bundle["name"] == model))


def load(server: ServerProcess, workload: Workload, callers: int, seconds: float) -> dict[str, Any]:
    """What the callers saw, and what the server says of its batches meanwhile."""
    call(server.port, workload, callers=callers, seconds=seconds / 4)  # warms up
    before = scrape(server)
    calls = call(server.port, workload, callers=callers, seconds=seconds)
    after = scrape(server)
    batch, wait = (mean(before, after, name) for name in ("cifar_batch_images", "cifar_queue_wait_seconds"))
    return {**asdict(calls), "mean_batch_images": batch, "mean_wait_ms": 1000 * wait}


def scrape(server: ServerProcess) -> dict[str, float]:
    """The sums and counts of its histograms, over all bundles, of which one is asked."""
    families = text_string_to_metric_families(server.ask("GET", "/metrics")[1].decode())
    found: dict[str, float] = {}
    for sample in (sample for family in families for sample in family.samples):
        if sample.name.endswith(("_sum", "_count")):
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def mean(before: dict[str, float], after: dict[str, float], name: str) -> float:
    """Of what the histogram observed between two looks."""
    total, count = (after[key] - before.get(key, 0.0) for key in (f"{name}_sum", f"{name}_count"))
    return total / count
