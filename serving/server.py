"""The server's state: which bundles are loaded, their batchers, and whether it may be asked."""

import asyncio
import gc
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL.Image import Image
from starlette.requests import Request

from cifar_models.bundle import BundleError, open_bundle
from cifar_models.errors import InputError
from cifar_models.picture import Pixels
from serving.admission import Admission
from serving.answer import add_pixels, predictions
from serving.batcher import Batcher
from serving.bundles import EngineChoice, LoadedBundle, check_engine, find_bundles, load_bundle
from serving.description.document import describe
from serving.description.page import render
from serving.disconnect import CancelOnDisconnect
from serving.errors import NotReady, UnknownModel
from serving.health import Health
from serving.job import Batch
from serving.metrics import Metrics, ModelMetrics
from serving.options import Options, parse_options
from serving.request import RequestReader, decode_all
from serving.settings import Settings
from serving.trace import Trace, trace_of

logger = logging.getLogger(__name__)

_DECODING_THREADS = 2
_CROWDED = 4  # batches


@dataclass(frozen=True, slots=True)
class Serving:
    """A loaded bundle, the batcher in front of it, and whether its engine still works."""

    loaded: LoadedBundle
    batcher: Batcher
    health: Health
    description: dict[str, str]
    metrics: ModelMetrics


class Server:
    """Answers requests once `start` is done. Making one loads nothing: a parent process does it for the checks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._serving: dict[str, Serving] = {}
        self._failed: dict[str, str] = {}
        self._ready = False
        self._threads = ThreadPoolExecutor(_DECODING_THREADS, thread_name_prefix="decode")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="decode-large")
        self._reader = RequestReader(settings, self._threads, self._large)
        self._admission = Admission(
            crowd=_CROWDED * settings.max_batch, max_wait=settings.max_wait, clock=time.monotonic
        )

    @property
    def ready(self) -> bool:
        """Whether the default bundle is served now."""
        return self._ready and not self._serving[self._settings.model].health.broken

    @cached_property
    def metrics(self) -> Metrics:
        """Made when a worker first asks: each has its own, and the parent process none."""
        return Metrics()

    def check(self) -> None:
        """Fail early and cheaply: InputError when a setting names what is not there or the default bundle is broken."""
        model = self._settings.model
        check_engine(self._engine_choice())
        folders = find_bundles(self._settings.bundles)
        if model not in folders:
            raise InputError(
                f"CIFAR_MODEL={model!r} is no bundle. {self._settings.bundles} holds: {', '.join(folders)}."
            )
        open_bundle(folders[model])

    async def start(self) -> None:
        """Load every bundle. The server is ready if the default one passed; one that fails is reported, not served."""
        await asyncio.to_thread(self._load)
        self._ready = self._settings.model in self._serving
        # Full collections would walk BentoML's whole heap in the middle of requests, and find nothing to free.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)

    def _load(self) -> None:
        settings = self._settings
        for name, folder in find_bundles(settings.bundles).items():
            try:
                loaded = load_bundle(folder, self._engine_choice())
            except BundleError as error:
                self._failed[name] = str(error)
                logger.error("Bundle %s is not served: %s", name, error)
                continue
            self._serving[name] = self._serve(name, loaded)
            logger.info("Bundle %(name)s is served by %(engine)s, version %(version)s", self._serving[name].description)

    def _engine_choice(self) -> EngineChoice:
        settings = self._settings
        return EngineChoice(settings.engine, settings.engine_threads, settings.max_batch, settings.allow_fallback)

    def _serve(self, name: str, loaded: LoadedBundle) -> Serving:
        async def self_test() -> None:
            images = await asyncio.to_thread(loaded.golden_images)
            deadline = asyncio.get_running_loop().time() + self._settings.timeout
            probabilities = await batcher.classify(images, deadline=deadline)
            await asyncio.to_thread(loaded.check_golden, probabilities)

        def observe_queue(_: Batch) -> None:
            metrics.queue(batcher.waiting)

        health = Health(name, self_test)
        description = loaded.describe()
        metrics = self.metrics.model(description)
        batcher = Batcher(
            loaded.engine,
            max_batch=self._settings.max_batch,
            max_queue=self._settings.max_queue,
            observers=[health.note, metrics.batch, observe_queue],
        )
        return Serving(loaded, batcher, health, description, metrics)

    async def stop(self) -> None:
        """Answer what was accepted, refuse the rest."""
        self._ready = False
        for serving in self._serving.values():
            serving.health.close()
        await asyncio.gather(*(serving.batcher.close() for serving in self._serving.values()))
        self._threads.shutdown()
        self._large.shutdown()

    async def classify(self, request: Request) -> dict[str, Any]:
        """POST /classify: the answer's content. Raises a Refusal."""
        trace = trace_of(request.scope)
        deadline = self._deadline()
        with self._admission.visit() as visit:
            images, options = await self._reader.read(request, deadline=deadline)
            trace.decoded(len(images))
            self._admission.read(visit, len(images))
            with CancelOnDisconnect(request.receive):
                return await self._answer(images, options, deadline, trace)

    async def classify_pictures(self, pictures: list[Image], **options: Any) -> dict[str, Any]:
        """The same for pictures in memory. Raises a Refusal."""
        deadline = self._deadline()
        return await self._answer(decode_all(pictures), parse_options(options), deadline, Trace())

    def _deadline(self) -> float:
        if self._settings.model in self._failed:
            raise NotReady("The default model did not pass its checks; see /models and the server's log.", soon=False)
        if not self._ready:
            raise NotReady("The server is not ready; see /readyz and /models.")
        return asyncio.get_running_loop().time() + self._settings.timeout

    async def _answer(self, images: Pixels, options: Options, deadline: float, trace: Trace) -> dict[str, Any]:
        serving = self._find(options.model or self._settings.model)
        probabilities = await serving.batcher.classify(images, deadline=deadline, timings=trace)
        answers = predictions(serving.loaded.labels, probabilities, options.top_k)
        if options.pixels:
            add_pixels(answers, images)
        serving.metrics.classified(len(images))
        return {"model": serving.description, "predictions": answers}

    def _find(self, name: str) -> Serving:
        serving = self._serving.get(name)
        if serving is not None and serving.health.broken:
            raise NotReady(f"The engine of {name!r} failed and is being tested; see /models.")
        if serving is not None:
            return serving
        if name in self._failed:
            raise NotReady(f"The model {name!r} did not pass its checks and is not served; see /models.", soon=False)
        raise UnknownModel(f"There is no model {name!r}; there are: {', '.join(self._serving)}.")

    def models(self) -> dict[str, Any]:
        """GET /models: every bundle with its manifest, or with the reason why it is not served."""
        served = [
            {
                **serving.description,
                "default": name == self._settings.model,
                "ready": not serving.health.broken,
                "degraded": serving.loaded.degraded,
                "manifest": serving.loaded.bundle.manifest.model_dump(),
            }
            for name, serving in self._serving.items()
        ]
        return {"models": served, "failed": [{"name": name, "reason": reason} for name, reason in self._failed.items()]}

    def description(self) -> dict[str, Any]:
        """GET /docs.json: what may be asked of this server, and what comes back."""
        return describe(self._settings)

    def reference(self) -> str:
        """GET /docs: the same as a page for people."""
        return render(self._settings)
