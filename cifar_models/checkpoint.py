"""The file that passes from training to export: weights, where they come from, and all that resuming needs."""

import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cifar_models.atomic import saving
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet, load_images
from cifar_models.errors import InputError
from cifar_models.memory import enough_memory
from cifar_models.presence import is_there

_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """One moment of a training run, in tensors and plain Python alone, so that loading it runs no code."""

    architecture: str  # a name in cifar_models.registry
    labels: list[str]  # in the order of the logits
    mean: list[float]
    std: list[float]
    weights: dict[str, Tensor]  # the state dict of a Classifier
    history: list[dict[str, Any]]  # the metrics of every epoch so far
    recipe: dict[str, Any]
    data_name: str
    data_fingerprint: str  # of the training set before the validation split
    validation: Tensor  # indices of the training set that were held out, int64
    source_revision: str  # of the code that trained, marked as dirty when it was more than one
    ancestors: dict[str, str] = field(default_factory=dict)  # sha256 of each file that it began with or learned from
    training_state: dict[str, Any]  # optimizers, the place in the epoch, an average and the network that it follows

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
        return Checkpoint(**content)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # torch raises nearly anything on a damaged file
        # Its own words are long, and advise to load the file by running what is in it.
        raise InputError(f"{path} is not a checkpoint of this package, or it is damaged.") from error
