"""The server's state: which bundles are loaded, their batchers, and whether it may be asked."""

import asyncio
import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from starlette.requests import Request

from cifar_models.bundle import BundleError, open_bundle
from cifar_models.errors import InputError
from cifar_models.picture import Pixels
from serving.answer import predictions
from serving.batcher import Batcher
from serving.bundles import LoadedBundle, find_bundles, load_bundle
from serving.engine import AUTO, ENGINES
from serving.errors import NotReady, UnknownModel
from serving.options import Options, parse_options
from serving.request import RequestReader, decode_all
from serving.settings import Settings

logger = logging.getLogger(__name__)

_DECODING_THREADS = 2


@dataclass(frozen=True, slots=True)
class Serving:
    """A loaded bundle and the batcher in front of it."""

    loaded: LoadedBundle
    batcher: Batcher
    description: dict[str, str]


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

    @property
    def ready(self) -> bool:
        return self._ready

    def check(self) -> None:
        """Fail early and cheaply: InputError when a setting names what is not there or the default bundle is broken."""
        engine, model = self._settings.engine, self._settings.model
        if engine not in (AUTO, *ENGINES):
            raise InputError(f"CIFAR_ENGINE={engine!r} is no engine. There are: {', '.join((AUTO, *ENGINES))}.")
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
                loaded = load_bundle(folder, settings.engine, settings.engine_threads)
            except BundleError as error:
                self._failed[name] = str(error)
                logger.error("Bundle %s is not served: %s", name, error)
                continue
            batcher = Batcher(loaded.engine, max_batch=settings.max_batch, max_queue=settings.max_queue)
            self._serving[name] = Serving(loaded, batcher, loaded.describe())
            logger.info("Bundle %(name)s is served by %(engine)s, version %(version)s", self._serving[name].description)

    async def stop(self) -> None:
        """Answer what was accepted, refuse the rest."""
        self._ready = False
        await asyncio.gather(*(serving.batcher.close() for serving in self._serving.values()))
        self._threads.shutdown()
        self._large.shutdown()

    async def classify(self, request: Request) -> dict[str, Any]:
        """POST /classify: the answer's content. Raises a Refusal."""
        deadline = self._deadline()
        images, options = await self._reader.read(request, deadline=deadline)
        return await self._answer(images, options, deadline)

    async def classify_pictures(self, pictures: list[Image], **options: Any) -> dict[str, Any]:
        """The same for pictures in memory. Raises a Refusal."""
        deadline = self._deadline()
        return await self._answer(decode_all(pictures), parse_options(options), deadline)

    def _deadline(self) -> float:
        if self._settings.model in self._failed:
            raise NotReady("The default model did not pass its checks; see /models and the server's log.", soon=False)
        if not self._ready:
            raise NotReady("The server is not ready; see /readyz and /models.")
        return asyncio.get_running_loop().time() + self._settings.timeout

    async def _answer(self, images: Pixels, options: Options, deadline: float) -> dict[str, Any]:
        serving = self._find(options.model or self._settings.model)
        probabilities = await serving.batcher.classify(images, deadline=deadline)
        answers = predictions(serving.loaded.labels, probabilities, options.top_k)
        return {"model": serving.description, "predictions": answers}

    def _find(self, name: str) -> Serving:
        if name in self._serving:
            return self._serving[name]
        if name in self._failed:
            raise NotReady(f"The model {name!r} did not pass its checks and is not served; see /models.", soon=False)
        raise UnknownModel(f"There is no model {name!r}; there are: {', '.join(self._serving)}.")

    def models(self) -> dict[str, Any]:
        """GET /models: every bundle with its manifest, or with the reason why it is not served."""
        served = [
            {
                **serving.description,
                "default": name == self._settings.model,
                "manifest": serving.loaded.bundle.manifest.model_dump(),
            }
            for name, serving in self._serving.items()
        ]
        return {"models": served, "failed": [{"name": name, "reason": reason} for name, reason in self._failed.items()]}
