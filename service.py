"""The BentoML service: how it starts and stops, and what its documentation says. `serving` does the work."""

import logging
import os
import sys

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # the server tells nobody anything

import bentoml
from bentoml._internal.utils.analytics import usage_stats
from PIL.Image import Image
from pydantic import BaseModel, Field

from cifar_models.errors import InputError
from serving.access import ApiKeys, Pages, load_keys
from serving.app import App
from serving.connection import limit_connections
from serving.server import Server
from serving.settings import load_settings

usage_stats.do_not_track.cache_clear()  # the command `bentoml serve` asked before this file could say no


class Model(BaseModel):
    """Which file computed the answer."""

    name: str
    version: str = Field(description="First 12 digits of the file's sha256")
    engine: str


class Prediction(BaseModel):
    """One image's label and the probabilities of all labels, or of the `top_k` best."""

    label: str
    index: int
    probability: float
    probabilities: dict[str, float]


class Answer(BaseModel):
    """Predictions in the order of the images."""

    model: Model
    predictions: list[Prediction]


try:
    SETTINGS = load_settings()
    KEYS = load_keys(SETTINGS)
except InputError as error:
    sys.exit(f"error: {error}")
SERVER = Server(SETTINGS)
TLS = {"enabled": True, "certfile": str(SETTINGS.tls_cert), "keyfile": str(SETTINGS.tls_key)}

limit_connections(SETTINGS.client_timeout)
logging.getLogger("serving").setLevel(logging.INFO)  # BentoML's own level for others is WARNING


@bentoml.service(
    name="cifar_classifier",
    workers=SETTINGS.workers,
    # Our own deadline answers first, and with our error object; this one only catches what should never happen.
    traffic={"timeout": SETTINGS.timeout + 1},
    # Per request, the access log and the tracing spans would cost more than the batching.
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
    **({"ssl": TLS} if SETTINGS.tls_cert else {}),
    metrics={"duration": {"buckets": [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]}},
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
        await SERVER.start()

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
    ) -> Answer:
        """Classify pictures. `App` answers this path over HTTP; this is the same for callers inside the process."""
        return Answer.model_validate(await SERVER.classify_pictures(images, model=model, top_k=top_k, strict=strict))


# The first is outermost: a page of another host can read why it was refused.
if SETTINGS.origins:
    CifarClassifier.add_asgi_middleware(Pages, origins=SETTINGS.origins)
if KEYS:
    CifarClassifier.add_asgi_middleware(ApiKeys, digests=KEYS)
CifarClassifier.add_asgi_middleware(App, server=SERVER)
