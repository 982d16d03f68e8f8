"""What the server counts and how long things take, for Prometheus: GET /metrics.

The numbers of all workers are added up whichever worker is asked. Labels take few values: routes that we answer,
statuses, codes of `serving.errors`, bundles that there are. What a client sends never makes a new one.
"""

import atexit
import operator
import os
import shutil
import tempfile
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from serving import __version__
from serving.batching.job import Batch
from serving.observing.tally import Cells, Key, Tally, read
from serving.observing.trace import Trace

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # names a folder of all workers, which BentoML empties when it starts

_SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

FAMILIES: dict[str, "Family"] = {}  # all that there are, by name


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. It is a histogram if it has bounds, a counter if its name ends in _total, else a gauge."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()  # of a histogram's buckets, upper ones

    def __post_init__(self) -> None:
        FAMILIES[self.name] = self

    @property
    def live(self) -> bool:
        return not self.bounds and not self.name.endswith("_total")

    @property
    def is_info(self) -> bool:
        """Always 1, for its labels."""
        return self.name.endswith("_info")


REQUESTS = Family(
    "cifar_requests_total", "Requests that have ended; status 499: nobody was answered.", ("route", "status", "code")
)
REQUEST = Family(
    "cifar_request_duration_seconds", "From a request's headers to its answer's end.", ("route", "status"), _SECONDS
)
RECEIVE = Family("cifar_receive_duration_seconds", "Until a request's body had arrived.", (), _SECONDS)
DECODE = Family("cifar_decode_duration_seconds", "From a request's body to its pixels.", (), _SECONDS)
WAIT = Family("cifar_queue_wait_seconds", "From the queue to the engine.", ("model",), _SECONDS)
BATCH = Family("cifar_batch_images", "Images that the engine computed at once.", ("model",), _IMAGES)
INFERENCE = Family("cifar_inference_duration_seconds", "Of one batch in the engine.", ("model",), _SECONDS)
IMAGES = Family("cifar_images_total", "Images that were classified.", ("model",))
IN_FLIGHT = Family("cifar_in_flight_requests", "Requests that have not ended.")
QUEUE = Family("cifar_queue_images", "Images that wait for the engine.", ("model",))
BUNDLE = Family("cifar_bundle_info", "1 for each bundle that is served.", ("model", "version", "engine"))
READY = Family(
    "cifar_model_ready",
    "Workers that the bundle's engine works in; one that is broken, hung or could not be loaded does not.",
    ("model",),
)
WORKERS = Family("cifar_workers", "Worker processes that live.")
SERVER = Family("cifar_server_info", "1 for the release that runs.", ("version",))


class Histogram:
    """How often a value fell into which bucket, and the sum of the values."""

    def __init__(self, cells: Cells, bounds: tuple[float, ...]) -> None:
        self._cells = cells
        self._bounds = bounds
        self._sum = len(cells) - 1

    def observe(self, value: float) -> None:
        self._cells[bisect_left(self._bounds, value)] += 1
        self._cells[self._sum] += value


class Number:
    """A counter or a gauge."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def add(self, amount: float) -> None:
        self._cells[0] += amount

    def set(self, value: float) -> None:
        self._cells[0] = value


class ModelMetrics:
    """Of one bundle that is served: what its batcher tells, and the images that were answered."""

    def __init__(self, metrics: "Metrics", model: str) -> None:
        self._waited = metrics.histogram(WAIT, model)
        self.queue: Callable[[float], None] = metrics.number(QUEUE, model).set
        self.ready: Callable[[float], None] = metrics.number(READY, model).set
        self.classified: Callable[[float], None] = metrics.number(IMAGES, model).add
        self._batch = metrics.histogram(BATCH, model)
        self._inference = metrics.histogram(INFERENCE, model)

    def batch(self, batch: Batch) -> None:
        self._batch.observe(batch.images)
        self._inference.observe(batch.seconds)
        for seconds in batch.waits:
            self._waited.observe(seconds)


class Metrics:
    """This worker's numbers, and the text of all workers'. Once started, written to on the event loop alone."""

    def __init__(self) -> None:
        self._folder = shared_folder()
        self._tally = Tally(self._folder)
        self._receive = self.histogram(RECEIVE)
        self._decode = self.histogram(DECODE)
        self._ended = cache(self._bind)
        self.in_flight = self.number(IN_FLIGHT)
        self.number(WORKERS).set(1)
        self.number(SERVER, __version__).set(1)

    def histogram(self, family: Family, *labels: str) -> Histogram:
        return Histogram(self._tally.cells((family.name, *labels), len(family.bounds) + 2), family.bounds)

    def number(self, family: Family, *labels: str) -> Number:
        return Number(self._tally.cells((family.name, *labels), 1, live=family.live))

    def model(self, description: dict[str, str]) -> ModelMetrics:
        """The metrics of a bundle, given its name, version and engine."""
        self.number(BUNDLE, description["name"], description["version"], description["engine"]).set(1)
        return ModelMetrics(self, description["name"])

    def failed(self, model: str) -> None:
        """A bundle could not be loaded."""
        self.number(READY, model).set(0)

    def ended(self, trace: Trace) -> None:
        """A request has ended."""
        count, duration = self._ended(trace.route, trace.status, trace.code)
        count(1)
        duration(trace.total)
        if trace.receive is not None:
            self._receive.observe(trace.receive)
        if trace.decode is not None:
            self._decode.observe(trace.decode)

    def _bind(self, route: str, status: int, code: str) -> tuple[Callable[[float], None], Callable[[float], None]]:
        requests = self.number(REQUESTS, route, str(status), code)
        return requests.add, self.histogram(REQUEST, route, str(status)).observe

    def render(self) -> bytes:
        """All workers' numbers in Prometheus' text format."""
        self._tally.write_names()
        return generate_latest(Sums(self._folder))


def shared_folder() -> Path:
    """The folder that BentoML names to its workers; without it, one of our own."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        folder = tempfile.mkdtemp(prefix="cifar-metrics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class Sums(Collector):
    """Adds up what the processes have counted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        totals: dict[str, dict[Key, list[float]]] = defaultdict(dict)
        for counted in read(self._folder):
            for (name, *labels), values in counted.items():
                is_info = FAMILIES[name].is_info
                if is_info and not any(values):  # a worker served it that is dead
                    continue
                merge = max if is_info else operator.add
                found = totals[name].setdefault(tuple(labels), [0.0] * len(values))
                totals[name][tuple(labels)] = list(map(merge, found, values))
        for name, series in totals.items():
            yield to_metric(FAMILIES[name], series.items())


def to_metric(family: Family, series: Iterable[tuple[Key, list[float]]]) -> Metric:
    if family.bounds:
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, (*counts, total) in series:
            histogram.add_metric(labels, list(buckets(family.bounds, counts)), total)
        return histogram
    kind = GaugeMetricFamily if family.live else CounterMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, (value,) in series:
        metric.add_metric(labels, value)
    return metric


def buckets(bounds: tuple[float, ...], counts: list[float]) -> Iterator[tuple[str, float]]:
    """Prometheus counts in each bucket what is in the smaller ones too."""
    below = 0.0
    for bound, number in zip((*map(str, map(float, bounds)), "+Inf"), counts, strict=True):
        below += number
        yield bound, below
