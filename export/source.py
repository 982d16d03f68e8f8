"""What a bundle is made from: a checkpoint, and the images that it was trained on and is measured on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.dataset import ImageSet
from cifar_models.manifest import Origin

_CALIBRATION_IMAGES = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    checkpoint: Checkpoint
    training: ImageSet  # with the images that the run held out
    test: ImageSet

    @property
    def validation(self) -> ImageSet:
        """The images that the run held out."""
        return self.training.subset(self.checkpoint.validation.numpy())

    @property
    def calibration(self) -> ImageSet:
        """Some images that the run was trained on: the ranges of int8 are set by nothing that is measured."""
        trained = np.setdiff1d(np.arange(len(self.training)), self.checkpoint.validation.numpy())
        return self.training.subset(trained).sample(_CALIBRATION_IMAGES)

    @property
    def origin(self) -> Origin:
        """Where the weights come from, without a trace of the machine that trained them."""
        checkpoint = self.checkpoint
        return Origin(
            recipe={
                name: ",".join(map(portable, value.split(","))) if isinstance(value, str) else value
                for name, value in checkpoint.recipe.items()
            },
            epoch=checkpoint.epoch,
            data=checkpoint.data_name,
            data_fingerprint=checkpoint.data_fingerprint,
            training_images=len(self.training) - len(checkpoint.validation),
            validation_images=len(checkpoint.validation),
            source_revision=checkpoint.source_revision,
        )


def load_source(checkpoint: Path, data: Path) -> Source:
    """Read both. Raises InputError when they cannot be read or the data are not those of the run."""
    loaded = load_checkpoint(checkpoint)
    training = loaded.load_training_images(data)
    return Source(checkpoint=loaded, training=training, test=loaded.load_test_images(data))


def portable(value: str) -> str:
    """What a recipe says; of an absolute path what is below the current folder, or else its last two parts."""
    path = Path(value)
    if not path.is_absolute():
        return value
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else Path(*path.parts[1:][-2:]))
