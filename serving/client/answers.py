"""What the server answers. Fields that a newer server adds are kept out and break nothing."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Received(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Model(Received):
    """Which file computed the answer."""

    name: str
    version: str  # first 12 digits of the file's sha256
    engine: str  # such as "onnxruntime-cpu-int8"


class Prediction(Received):
    """One image's label and the probabilities of all labels, or of the `top_k` best."""

    label: str
    index: int  # of the label among the model's labels
    probability: float
    confident: bool | None = None  # whether it is right often enough to act upon; none: the bundle does not say
    probabilities: dict[str, float]


class Answer(Received):
    """Predictions in the order of the images."""

    model: Model
    predictions: list[Prediction]


class ServedModel(Model):
    """A bundle that the server can be asked for."""

    default: bool  # answers when a request names none
    ready: bool = True  # false while its engine is broken
    degraded: str | None = None  # why an engine that should come first does not answer
    manifest: dict[str, Any]  # what the bundle says of itself: labels, measured accuracy, origin; see the server's docs


class FailedModel(Received):
    """A bundle that did not pass the server's checks, and why."""

    name: str
    reason: str


class Models(Received):
    """The server's bundles, and how long to wait for their answers."""

    models: list[ServedModel]
    failed: list[FailedModel]
    timeout: float | None = None  # seconds after which the server refuses a request; none: it is too old to say
