"""What a training run does, as typed values: the command line names one and may override any field."""

from dataclasses import dataclass
from typing import Literal

from cifar_models.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One way to train one model. Shares are in [0, 1); distances are in pixels."""

    model: str  # a name of cifar_models.registry
    epochs: int
    batch_size: int = 500
    lr: float = 0.1  # peak, SGD with Nesterov momentum; under Muon only of what is not a convolution's filters
    filter_lr: float = 0.0  # peak, Muon on convolution filters; 0 leaves them to SGD
    momentum: float = 0.9
    weight_decay: float = 5e-4  # of matrices and filters, never of biases and batch norm
    warmup: float = 0.1  # share of all steps; afterwards the learning rate falls linearly to 0
    label_smoothing: float = 0.0
    flip: Literal["none", "random", "alternating"] = "random"
    crop: int = 0  # shift by up to this many pixels, reflecting at the border
    cutout: int = 0  # side of the grey square
    validation: float = 0.1  # share of the training set that is held out, stratified
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # auto: bf16 where the device computes in it

    def __post_init__(self) -> None:
        for name in ("warmup", "label_smoothing", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is a share in [0, 1), got {getattr(self, name)}.")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
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
