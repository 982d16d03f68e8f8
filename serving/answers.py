"""What the server answers: for the API's description, BentoML's schema of the service, and the Python client.

Fields that a newer server adds break nothing.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True)


class Model(Frozen):
    """Which file computed the answer."""

    name: str = Field(description="The bundle's name")
    version: str = Field(description="First 12 digits of the file's sha256")
    engine: str = Field(description="What ran the file, such as onnxruntime-cpu-int8")


class Prediction(Frozen):
    """One image's label and the probabilities of all labels, or of the `top_k` best."""

    label: str = Field(description="The most probable label")
    index: int = Field(ge=0, description="Its place among the model's labels, from 0")
    probability: Probability = Field(description="Its probability, rounded to 6 digits")
    confident: bool | None = Field(
        default=None,
        description="Whether the probability reaches the threshold from which on answers are right often enough: see "
        "`selective` in the bundle's manifest for the promise; absent where the bundle makes none",
    )
    probabilities: dict[str, Probability] = Field(
        description="By label: all in the model's order, or the `top_k` best, best first"
    )
    pixels: str | None = Field(
        default=None, description="What the network saw, base64 of uint8 32x32x3 RGB; absent unless `pixels=true`"
    )


class Answer(Frozen):
    """Predictions in the order of the images."""

    model: Model
    predictions: list[Prediction] = Field(min_length=1, description="One for each image")


class ServedModel(Model):
    """A bundle that may be asked for."""

    default: bool = Field(description="Whether it answers when a request names none")
    ready: bool = Field(description="False while its engine is broken and being tested")
    degraded: str | None = Field(
        description="Why an engine that should come first does not answer; null where none failed"
    )
    manifest: dict[str, Any] = Field(
        description="All that the bundle says of itself: labels, measured accuracy, origin"
    )


class FailedModel(Frozen):
    """A bundle that did not pass the server's checks and is not served."""

    name: str
    reason: str


class Models(Frozen):
    """The server's bundles, and how long to wait for their answers."""

    models: list[ServedModel]
    failed: list[FailedModel]
    timeout: float = Field(
        description="Seconds, from the end of a request's header, after which it is refused with 504"
    )


class Error(Frozen):
    """Why a request was refused."""

    code: str = Field(description="For programs: which kind of refusal it is, as the answer's description says")
    message: str = Field(description="For people: the value at fault, the rule, and the way out")
    index: int | None = Field(default=None, ge=0, description="The image at fault, from 0; absent where no image is")


class Refused(Frozen):
    """The body of every error of ours."""

    error: Error
