"""The BentoML service: how it starts and stops, and what its documentation says. `serving` does the work."""

import logging
import os
import sys
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # the server tells nobody anything; see also `cifar_models`

import bentoml
from bentoml._internal.utils.analytics import usage_stats
from PIL.Image import Image
from pydantic import Field
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from cifar_models.errors import InputError
from serving.answers import Answer
from serving.decoding.pictures import prepare_pillow
from serving.http.access import check_certificate, let_pages_ask, load_keys
from serving.http.app import App
from serving.http.connection import Connection
from serving.http.door import Door
from serving.http.drain import drain_on_sigterm
from serving.http.memory import limit_heaps
from serving.http.parent import watch_over_workers
from serving.http.server import Server
from serving.http.uvicorn_setup import allow_connections, stand_before
from serving.observing.background import write_in_background
from serving.settings import load_settings

usage_stats.do_not_track.cache_clear()  # the command `bentoml serve` asked before this file could say no

try:
    SETTINGS = load_settings()
    KEYS = load_keys(SETTINGS)
    check_certificate(SETTINGS)
except InputError as error:
    sys.exit(f"error: {error}")
SERVER = Server(SETTINGS)
TLS = {"enabled": True, "certfile": str(SETTINGS.tls_cert), "keyfile": str(SETTINGS.tls_key)}

logging.getLogger("serving").setLevel(logging.INFO)  # BentoML's own level for others is WARNING


@bentoml.service(
    name="cifar_classifier",
    workers=SETTINGS.workers,
    # Of what BentoML answers itself, such as /readyz; requests to classify have our own deadline, and our error object.
    traffic={"timeout": SETTINGS.timeout + 1},
    # Per request, the access log and the tracing spans would cost more than the batching.
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
    **({"ssl": TLS} if SETTINGS.tls_cert else {}),
    # Ours say more (`serving.observing`); BentoML's cost time for each request, and make a series of each path asked.
    metrics={"enabled": False},
)
class CifarClassifier:
    """Classifies 32x32 images into the ten labels of CIFAR-10, in batches."""

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """In the parent process, before a worker exists: a broken bundle stops the start with one line."""
        try:
            SERVER.check()
        except InputError as error:
            sys.exit(f"error: {error}")

    @bentoml.on_startup
    async def start(self) -> None:
        limit_heaps()
        prepare_pillow()
        logging.getLogger("uvicorn.error").handlers.clear()  # as root's, which get its lines too: each came twice
        for name in ("", "bentoml"):  # the other loggers that BentoML gave handlers
            write_in_background(logging.getLogger(name))
        allow_connections(SETTINGS.max_connections)
        await SERVER.start()
        drain_on_sigterm(SERVER, alone=SETTINGS.workers == 1)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        await SERVER.stop()

    async def __is_ready__(self) -> bool:
        return SERVER.ready

    @bentoml.api(route="/classify")
    async def classify(
        self,
        images: list[Image] = Field(min_length=1, description="Pictures; 32x32 is taken as it is, others are resized"),
        model: str | None = Field(None, description="Name of a bundle; the default one if absent"),
        top_k: int | None = Field(None, ge=1, description="Only the probabilities of this many labels, best first"),
        strict: bool = Field(False, description="Refuse pictures that are not 32x32"),
        pixels: bool = Field(False, description="Answer also with what the network saw of each picture"),
    ) -> Answer:
        """Classify pictures. `App` answers this path over HTTP; this is the same for callers inside the process."""
        options = {"model": model, "top_k": top_k, "strict": strict, "pixels": pixels}
        return Answer.model_validate(await SERVER.classify_pictures(images, **options))


def in_front_of(app: Any) -> Any:
    """All that a request to us goes through, from the outside in; `app` is what BentoML made of the service."""
    ours = app = App(app, SERVER, KEYS)
    if SETTINGS.origins:  # a page of another host shall read why it was refused
        app = let_pages_ask(app, SETTINGS.origins)
    door: Any = Door(app, ours.paths, SERVER, SETTINGS)
    Connection.unreadable = door.unreadable
    # Whom the log names is who asked a proxy that may be believed, by default one on this host: as uvicorn has it.
    return ProxyHeadersMiddleware(door, os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1"))


stand_before(
    in_front_of,
    seconds=SETTINGS.client_timeout,
    limit=SETTINGS.max_connections,
    encrypted=SETTINGS.tls_cert is not None,
)
watch_over_workers()
