"""What a training run does, as typed values: the command line names one and may override any field."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cifar_models.cifar10 import IMAGE_SIZE
from cifar_models.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One way to train one model. Each field's text is its help on the command line."""

    model: Annotated[str, "network to train, a name of the registry"]
    epochs: Annotated[int, "times that every training image is shown"]
    batch_size: Annotated[int, "images in one step"] = 500
    lr: Annotated[float, "peak learning rate of SGD with Nesterov momentum"] = 0.1
    filter_lr: Annotated[float, "peak learning rate of Muon, for convolution filters; 0 leaves them to SGD"] = 0.0
    momentum: Annotated[float, "of both optimizers"] = 0.9
    weight_decay: Annotated[float, "of matrices and filters under SGD; never of biases and batch norm"] = 5e-4
    warmup: Annotated[float, "share of the steps in which the learning rate rises; then it falls linearly to 0"] = 0.1
    label_smoothing: Annotated[float, "share of the target that all labels divide among them"] = 0.0
    flip: Annotated[Literal["none", "random", "alternating"], "mirror images left to right"] = "random"
    crop: Annotated[int, "shift images by up to this many pixels, reflecting at the border"] = 0
    cutout: Annotated[int, "side of a square that is greyed out, in pixels"] = 0
    validation: Annotated[
        float, "share of the training images that is held out, stratified, to choose the best epoch"
    ] = 0.1
    seed: Annotated[int, "of weights, order, augmentation and the validation split"] = 0
    precision: Annotated[Literal["auto", "bf16", "fp32"], "auto: bf16 where the device computes in it"] = "auto"

    def __post_init__(self) -> None:
        for name in ("warmup", "label_smoothing", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is a share in [0, 1), got {getattr(self, name)}.")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed must be from 0 to {2**32 - 1}, got {self.seed}.")
        if self.crop >= IMAGE_SIZE:
            raise InputError(f"crop must be below {IMAGE_SIZE}, the size of an image, got {self.crop}.")
        for name in ("lr", "filter_lr", "momentum", "weight_decay", "crop", "cutout"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must not be negative, got {getattr(self, name)}.")


RECIPES: dict[str, Recipe] = {
    # The default bundle. Muon, label smoothing and alternating flip as in airbench (Jordan 2024).
    "cifarnet": Recipe(
        model="cifarnet",
        epochs=30,
        batch_size=500,
        lr=0.05,
        filter_lr=0.03,
        momentum=0.85,
        warmup=0.1,
        label_smoothing=0.1,
        flip="alternating",
        crop=4,
        cutout=8,
        validation=0.05,
    ),
}
