"""The server's state: which bundles are loaded, their batchers, and whether it may be asked."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from PIL.Image import Image
from starlette.requests import Request

from cifar_models.bundle import BundleError, open_bundle
from cifar_models.errors import InputError
from cifar_models.manifest import Manifest
from cifar_models.picture import Pixels
from cifar_models.text import is_text
from serving.batching.admission import Admission
from serving.batching.niceness import let_the_event_loop_go_first
from serving.decoding.options import Options, parse_options
from serving.engines.bundles import find_bundles, load_bundle
from serving.engines.choice import EngineChoice, check_engine
from serving.errors import NotReady, UnknownModel
from serving.http.memory import freeze_what_is_loaded
from serving.http.request import RequestReader
from serving.http.serving import Serving, serve
from serving.observing.metrics import Metrics
from serving.observing.trace import Trace, trace_of
from serving.settings import Settings

logger = logging.getLogger(__name__)

_DECODING_THREADS = 2
_CROWDED = 4  # batches
_LOOK = 0.5  # seconds between looks at the engines


class Server:
    """Answers requests once `start` is done. Making one loads nothing: a parent process does it for the checks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._serving: dict[str, Serving] = {}
        self._failed: dict[str, str] = {}
        self._watch: asyncio.Task[None]  # of the engines, once they are loaded
        self._is_open = False  # it has started, and does not stop
        # On an engine that does not come back. A program that has the server in its own process goes on without.
        self.give_up: Callable[[str], None] = lambda name: None
        self._threads = ThreadPoolExecutor(_DECODING_THREADS, "decode", let_the_event_loop_go_first)
        self._large = ThreadPoolExecutor(1, "decode-large", let_the_event_loop_go_first)
        self._reader = RequestReader(settings, self._threads, self._large)
        self._admission = Admission(
            crowd=_CROWDED * settings.max_batch, max_wait=settings.max_wait, clock=time.monotonic
        )

    @property
    def ready(self) -> bool:
        """Whether the default bundle is served now."""
        default = self._serving.get(self.settings.model)
        return self._is_open and default is not None and not default.health.broken

    @property
    def busy(self) -> bool:
        """Whether a request that was accepted has no answer yet."""
        return self._admission.visits > 0

    @cached_property
    def metrics(self) -> Metrics:
        """Made when a worker first asks: each has its own, and the parent process none."""
        return Metrics()

    def check(self) -> None:
        """Fail early and cheaply: InputError when a setting names what is not there or the default bundle is broken."""
        model = self.settings.model
        check_engine(self._engine_choice())
        folders = find_bundles(self.settings.bundles)
        for name in folders:
            if not is_text(name):
                raise InputError(
                    f"CIFAR_BUNDLES={self.settings.bundles} holds {name!r}, a name with control characters or bytes "
                    "that are no UTF-8; rename it."
                )
        if model not in folders:
            raise InputError(
                f"CIFAR_MODEL={model!r} is no bundle. {self.settings.bundles} holds: {', '.join(folders)}."
            )
        open_bundle(folders[model])

    async def start(self) -> None:
        """Load every bundle. The server is ready if the default one passed; one that fails is reported, not served."""
        # There, so that the threads of an engine's own are as nice.
        await asyncio.get_running_loop().run_in_executor(self._threads, self._load)
        self._is_open = True
        self._watch = asyncio.create_task(self._watch_engines())
        freeze_what_is_loaded()

    def _load(self) -> None:
        settings = self.settings
        for name, folder in find_bundles(settings.bundles).items():
            if not is_text(name):  # it came when the server ran: a worker that takes another's place must not fail
                logger.error("Bundle %r is not served; rename it.", name)
                continue
            try:
                loaded = load_bundle(folder, self._engine_choice())
            except BundleError as error:
                self._failed[name] = str(error)
                self.metrics.failed(name)
                logger.error("Bundle %s is not served: %s", name, error)
                continue
            self._serving[name] = serve(loaded, settings, self.metrics, lambda name: self.give_up(name))
            logger.info("Bundle %(name)s is served by %(engine)s, version %(version)s", self._serving[name].description)

    def _engine_choice(self) -> EngineChoice:
        settings = self.settings
        return EngineChoice(settings.engine, settings.engine_threads, settings.max_batch, settings.allow_fallback)

    async def _watch_engines(self) -> None:
        """Notice an engine that hangs, which nothing else would: it tells of a batch when that is done."""
        while True:
            for serving in self._serving.values():
                serving.look()
            await asyncio.sleep(_LOOK)

    def drain(self) -> None:
        """Accept nothing more, and say so: the server will stop."""
        self._is_open = False

    async def stop(self) -> None:
        """Answer what was accepted, refuse the rest."""
        self.drain()
        self._watch.cancel()
        for serving in self._serving.values():
            serving.health.close()
        await asyncio.gather(*(serving.batcher.close(self.settings.timeout) for serving in self._serving.values()))
        self._threads.shutdown()
        self._large.shutdown()

    async def classify(self, request: Request) -> bytes:
        """POST /classify: the answer's body, JSON. Raises a Refusal."""
        trace = trace_of(request.scope)
        deadline = self._deadline()
        with self._admission.visit() as arrived:
            images, options = await self._reader.read(request, deadline=deadline, arrived=arrived, check=self._find)
            trace.decoded(len(images))
            return await self._answer(images, options, deadline, trace)

    async def classify_pictures(self, pictures: list[Image], **options: Any) -> dict[str, Any]:
        """The same for pictures in memory. Raises a Refusal."""
        deadline = self._deadline()
        wanted = parse_options(options)
        self._find(wanted)
        images = await self._reader.read_pictures(pictures, wanted, deadline=deadline)
        answer: dict[str, Any] = json.loads(await self._answer(images, wanted, deadline, Trace()))
        return answer

    def _deadline(self) -> float:
        if not self._is_open:
            raise NotReady("The server is not ready; see /readyz and /models.")
        return asyncio.get_running_loop().time() + self.settings.timeout

    async def _answer(self, images: Pixels, options: Options, deadline: float, trace: Trace) -> bytes:
        serving = self._find(options)  # whose engine may have broken meanwhile
        probabilities = await serving.batcher.classify(images, deadline=deadline, timings=trace)
        answer = serving.writer.write(probabilities, options.top_k, images if options.pixels else None)
        serving.metrics.classified(len(images))
        return answer

    def _find(self, options: Options) -> Serving:
        """The bundle that is asked for. Raises UnknownModel, NotReady, and Unacceptable for what it does not have."""
        name = options.model or self.settings.model
        if name in self._failed:
            raise NotReady(f"The model {name!r} did not pass its checks and is not served; see /models.", soon=False)
        if name not in self._serving:
            raise UnknownModel(f"There is no model {name!r}; there are: {', '.join(self._serving)}.")
        serving = self._serving[name]
        if serving.health.broken:
            raise NotReady(f"The engine of {name!r} failed and is being tested; see /models.")
        serving.writer.check(options.top_k)
        return serving

    def models(self) -> dict[str, Any]:
        """GET /models: every bundle with its manifest, or with the reason why it is not served."""
        served = [
            {
                **serving.description,
                "default": name == self.settings.model,
                "ready": not serving.health.broken,
                "degraded": serving.loaded.degraded,
                "manifest": served_manifest(serving.loaded.bundle.manifest),
            }
            for name, serving in self._serving.items()
        ]
        failed = [{"name": name, "reason": reason} for name, reason in self._failed.items()]
        return {"models": served, "failed": failed, "timeout": self.settings.timeout}


def served_manifest(manifest: Manifest) -> dict[str, Any]:
    """As it stands in the file, with the license that its schema implies where older ones had no place for one."""
    return {**manifest.model_dump(), "license": manifest.declared_license}
