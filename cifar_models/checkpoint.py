"""The file that passes from training to export: weights, where they come from, and all that resuming needs."""

import errno
import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import AfterValidator, ConfigDict, Field, FiniteFloat, PositiveFloat, TypeAdapter, ValidationError
from torch import Tensor

from cifar_models.atomic import saving
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet, load_images
from cifar_models.errors import InputError
from cifar_models.memory import enough_memory
from cifar_models.presence import is_there
from cifar_models.registry import ARCHITECTURES

_FORMAT = 1


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise ValueError("should be a number")
    return value


def _setting(value: Any) -> Any:
    return value if isinstance(value, str) else _number(value)


def _known(architecture: str) -> str:
    if architecture not in ARCHITECTURES:
        raise ValueError(f"no network is called {architecture!r}")
    return architecture


def _indices(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.int64 or tensor.ndim != 1 or not len(tensor) or tensor.min() < 0:
        raise ValueError("should be places of images, int64")
    return tensor


def _place(state: dict[str, Any]) -> dict[str, Any]:
    if not all(isinstance(state.get(name), int) and state[name] >= 0 for name in ("epoch", "step")):
        raise ValueError("should have an epoch and a step, whole numbers")
    return state


_RGB = Field(min_length=3, max_length=3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """One moment of a training run, in tensors and plain Python alone, so that loading it runs no code."""

    __pydantic_config__: ClassVar = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    architecture: Annotated[str, AfterValidator(_known)]  # a name in cifar_models.registry
    labels: Annotated[list[str], Field(min_length=2)]  # in the order of the logits
    mean: Annotated[list[FiniteFloat], _RGB]
    std: Annotated[list[Annotated[PositiveFloat, Field(allow_inf_nan=False)]], _RGB]
    weights: dict[str, Tensor]  # the state dict of a Classifier
    history: list[dict[str, Annotated[Any, AfterValidator(_number)]]]  # the metrics of every epoch so far
    recipe: dict[str, Annotated[Any, AfterValidator(_setting)]]
    data_name: str
    data_fingerprint: str  # of the training set before the validation split
    validation: Annotated[Tensor, AfterValidator(_indices)]  # indices of the training set that were held out, int64
    source_revision: str  # of the code that trained, marked as dirty when it was more than one
    ancestors: dict[str, str] = field(default_factory=dict)  # sha256 of each file that it began with or learned from
    # Optimizers, the place in the epoch, an average and the network that it follows.
    training_state: Annotated[dict[str, Any], AfterValidator(_place)]

    @property
    def epoch(self) -> int:
        """Epochs trained."""
        return len(self.history)

    def save(self, path: Path) -> None:
        """Write it whole or not at all. Raises InputError when it cannot be written."""
        content = {"format": _FORMAT, **{field.name: getattr(self, field.name) for field in fields(self)}}
        buffer = io.BytesIO()  # writing to a file by itself, torch would hide what the disk says
        torch.save(content, buffer)
        with saving(path) as partial:
            partial.write_bytes(buffer.getbuffer())

    def classifier(self) -> Classifier:
        """The trained model, on the CPU and in eval mode. Raises InputError when the weights are of another one."""
        model = Classifier(self.architecture, num_classes=len(self.labels), mean=self.mean, std=self.std)
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            raise InputError(
                f"The checkpoint says that it is of {self.architecture} with {len(self.labels)} labels, but its "
                "weights are of another network; train it again."
            ) from error
        return model.eval()

    def load_training_images(self, data: Path) -> ImageSet:
        """The images that the run began with, held-out ones included. Raises InputError when `data` has others."""
        images = load_images(data, "train")
        if images.fingerprint() != self.data_fingerprint:
            raise InputError(
                f"The checkpoint was trained on other images ({self.data_name}) than those in {data}; "
                "name their folder with --data."
            )
        if self.validation.max() >= len(images):
            raise InputError(f"The checkpoint holds out more images than the {len(images)} in {data}; train it again.")
        return images

    def load_test_images(self, data: Path) -> ImageSet:
        """The test images in `data`. Raises InputError when their labels are not those of the checkpoint."""
        images = load_images(data, "test")
        if list(images.classes) != self.labels:
            raise InputError(
                f"The checkpoint knows the labels {', '.join(self.labels)}; the test images in {data} have "
                f"{', '.join(images.classes)}."
            )
        return images


_CONTENT = TypeAdapter(Checkpoint)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU. Raises InputError when it is missing, damaged, too large or of another format."""
    try:
        if not (is_there(path) and path.is_file()):
            raise InputError(f"No checkpoint at {path}; `python -m training.fit` writes one to runs/<name>/best.pt.")
        with enough_memory(f"There is no memory to read {path}; free some of it."):
            content = torch.load(path, map_location="cpu", weights_only=True)
        found = content.pop("format")
        if found != _FORMAT:
            raise InputError(f"{path} has checkpoint format {found}, this version reads {_FORMAT}; train it again.")
        return _CONTENT.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path} is no checkpoint to use: {where}: {what}; train it again.") from error
    except InputError:
        raise
    except Exception as error:  # torch raises nearly anything on a damaged file
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # this of a file that was cut off
            raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error
        # Its own words are long, and advise to load the file by running what is in it.
        raise InputError(
            f"{path} is not a checkpoint of this package, or it was cut off or damaged; train it again."
        ) from error
