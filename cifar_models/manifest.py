"""manifest.json: what a bundle promises. It is written by export, and read by whoever serves or checks the bundle."""

import re
from collections.abc import Iterator
from math import isclose, isfinite
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cifar_models.calibration import Calibration

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # beside the manifest, never elsewhere
License = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")]  # an identifier of SPDX
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Split = Literal["validation", "test"]
Share = Annotated[float, Field(ge=0, le=1)]
Arithmetic = Literal["fp32", "tf32", "fp16"]  # of a CUDA device; a CPU computes in what the file says
RGB = tuple[float, float, float]

# Of a probability in an answer, and of a threshold that it is compared with; float32 knows seven.
PROBABILITY_DIGITS = 6
_KEYS = ("onnx-fp32", "onnx-int8", "torchscript-fp32", "torch-export-fp32", "safetensors-fp32")


class Record(BaseModel):
    """Part of a manifest: unknown fields are refused, so that a misspelt promise is not silently dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class File(Record):
    """A file of the bundle."""

    file: FileName
    sha256: Sha256
    bytes: Annotated[int, Field(gt=0)]


class Evaluation(Record):
    """How well an artifact classifies labelled images, one view each."""

    data: str  # their name, such as "CIFAR-10, JPEG-75 copy"
    data_fingerprint: Sha256  # of these images and labels
    split: Split
    images: int
    accuracy: Share
    ece: Share  # expected calibration error, 15 bins (Guo et al. 2017)
    nll: float  # mean negative log likelihood, nats
    class_accuracies: list[Share] | None = None  # of the images of each label; none: schema 2 did not say
    confusion: list[list[Annotated[int, Field(ge=0)]]] | None = None  # images: rows are labels, columns are answers

    def counted(self) -> Iterator[tuple[str, float, float]]:
        """What its confusion matrix, which must be square, says as well: name, as stated, as counted."""
        if self.confusion is None:
            return
        totals = [sum(row) for row in self.confusion]
        right = [row[index] for index, row in enumerate(self.confusion)]
        yield "images", self.images, sum(totals)
        yield "accuracy", self.accuracy, sum(right) / max(1, sum(totals))
        for index, stated in enumerate(self.class_accuracies or []):
            yield f"accuracy of label {index}", stated, right[index] / max(1, totals[index])


class Selection(Record):
    """What a threshold does to labelled images: the answers whose probability reaches it are the confident ones."""

    coverage: Share  # of the images: those answered with confidence
    precision: Share  # of those: the right ones; 1 where there is none


class Selective(Record):
    """From which probability on an artifact's answer is confident; see `cifar_models.selective`."""

    promise: Share  # lower 95 % bound of the precision on validation
    threshold: Share  # of the top probability, rounded to PROBABILITY_DIGITS
    validation: Selection  # chose the threshold
    test: Selection | None = None  # chose nothing; none: the artifact was not measured on test images


class Check(Record):
    """One way to compare, the largest difference that it found, and the largest that the gate lets through."""

    name: str
    difference: float  # of logits or probabilities, absolute; or a share of the images
    allowed: float | None = None  # none: it is told, and decides nothing

    @property
    def passed(self) -> bool:
        # Not `>`: NaN must fail too.
        return isfinite(self.difference) if self.allowed is None else self.difference <= self.allowed + 1e-12


class Parity(Record):
    """How an artifact agrees with its reference: the same weights in eager PyTorch, float32, on the CPU."""

    provider: str  # what computed, as it says itself
    arithmetic: Arithmetic = "fp32"
    images: int  # with labels; the checks know more
    checks: list[Check]

    def find(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)


class Unproved(Record):
    """An arithmetic of the CUDA device in which an artifact could not be run, and why: nothing is claimed of it."""

    arithmetic: Arithmetic
    reason: str


class Artifact(File):
    """The network in one format and precision."""

    format: Literal["onnx", "torchscript", "torch-export", "safetensors"]
    precision: Literal["fp32", "int8"]
    parity: Parity
    cuda_parity: list[Parity] = []  # where the export had a CUDA device
    cuda_unproved: list[Unproved] = []
    evaluations: list[Evaluation]
    selective: Selective | None = None  # none: no threshold keeps the promise, and nothing is said of confidence

    @model_validator(mode="after")
    def _known(self) -> "Artifact":
        if self.key not in _KEYS:
            raise ValueError(f"there is no {self.key}, only {', '.join(_KEYS)}")
        return self

    def evaluation(self, split: Split) -> Evaluation | None:
        return next((evaluation for evaluation in self.evaluations if evaluation.split == split), None)

    @property
    def key(self) -> str:
        return f"{self.format}-{self.precision}"


class Input(Record):
    """What the graph takes. There is one contract; a manifest with another is refused."""

    name: Literal["images"] = "images"
    dtype: Literal["uint8"] = "uint8"
    layout: Literal["NHWC"] = "NHWC"
    shape: tuple[Literal["batch"], Literal[32], Literal[32], Literal[3]] = ("batch", 32, 32, 3)
    color: Literal["RGB"] = "RGB"
    mean: RGB  # subtracted inside the graph, of pixels scaled to [0, 1]
    std: RGB


class Origin(Record):
    """Where the weights come from."""

    recipe: dict[str, str | int | float | bool]
    epoch: int
    data: str
    data_fingerprint: Sha256
    training_images: int
    validation_images: int
    source_revision: str  # of the code that trained


class Manifest(Record):
    """Everything that a bundle says of itself."""

    # 2 knew no class_accuracies, confusion, selective and export_revision, which are none then, 3 no sharpening, 4 no
    # license, 5 no files that were tried with wrong inputs.
    schema_version: Literal[2, 3, 4, 5, 6] = 6
    checksum: Sha256 | None = None  # of manifest.json itself, with zeros in its place
    name: FileName
    license: License | None = None  # of weights and files, as whoever exported them said
    architecture: str
    parameters: int
    labels: Annotated[list[str], Field(min_length=2)]  # in the order of the outputs
    input: Input
    temperature: Annotated[float, Field(gt=0)]  # this and the next make the calibration
    sharpening: Annotated[float, Field(ge=0)] = 0.0
    weights_sha256: Sha256  # of the weights that all artifacts hold, the large ones rounded to float16
    rounding: Parity  # of those weights with the checkpoint's own
    origin: Origin
    created: str  # ISO 8601, UTC
    versions: dict[str, str]  # of the packages that made it
    export_revision: str | None = None  # of the code that exported
    golden: File
    card: File | None = None  # the model card, for people
    artifacts: Annotated[list[Artifact], Field(min_length=1)]

    @model_validator(mode="after")
    def _unambiguous(self) -> "Manifest":
        for what, values in (("label", self.labels), ("artifact", [artifact.key for artifact in self.artifacts])):
            if len(set(values)) < len(values):
                raise ValueError(f"a {what} is listed twice")
        for evaluation in (each for artifact in self.artifacts for each in artifact.evaluations):
            by_label = [rows for rows in (evaluation.class_accuracies, evaluation.confusion) if rows is not None]
            if {*map(len, by_label), *map(len, evaluation.confusion or [])} - {len(self.labels)}:
                raise ValueError(f"an evaluation has figures of more or fewer labels than {len(self.labels)}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        for artifact in self.artifacts:
            for evaluation in artifact.evaluations:
                for name, stated, counted in evaluation.counted():
                    if not isclose(stated, counted, abs_tol=1e-9):
                        raise ValueError(
                            f"{artifact.file} has {name} {stated:g} on {evaluation.split}, by its confusion matrix "
                            f"{counted:g}"
                        )
        return self

    @property
    def files(self) -> list[File]:
        """All that it names."""
        return [self.golden, *([self.card] if self.card else []), *self.artifacts]

    @property
    def declared_license(self) -> str | None:
        """What its files and its card say: before schema 5, all said the same."""
        return "Apache-2.0" if self.schema_version < 5 else self.license

    @property
    def calibration(self) -> Calibration:
        return Calibration(self.temperature, self.sharpening)

    @property
    def usual(self) -> Artifact:
        """What a processor is given: the int8 file, or the first."""
        return self.find("onnx-int8") or self.artifacts[0]

    def find(self, key: str) -> Artifact | None:
        """The artifact of that format and precision, such as "onnx-int8"."""
        return next((artifact for artifact in self.artifacts if artifact.key == key), None)

    def to_json(self) -> str:
        """Indented; matrices can be read."""
        return numbers_in_one_line(self.model_dump_json(indent=2)) + "\n"


def numbers_in_one_line(text: str) -> str:
    """Indented JSON with every list of numbers in one line."""
    # No string is changed: in JSON none holds a line break.
    return re.sub(r"\[\n[^][{}\"]*\]", lambda found: f"[{' '.join(found[0][1:-1].split())}]", text)
