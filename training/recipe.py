"""What a training run does, as typed values: the command line names one and may override any field."""

from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields
from math import inf
from typing import Annotated, Literal

from cifar_models.cifar10 import IMAGE_SIZE
from cifar_models.errors import InputError

# Fields, what a value of theirs keeps to, which NaN never does, and how that is said.
_RULES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("momentum warmup label_smoothing ema", lambda value: 0 <= value < 1, "a share in [0, 1)"),
    ("cutmix teacher_weight", lambda value: 0 <= value <= 1, "a share in [0, 1]"),
    ("validation", lambda value: 0 < value < 1, "a share in (0, 1), as epochs are chosen on these images"),
    ("teacher_temperature", lambda value: 0 < value < inf, "finite and above 0"),
    ("epochs batch_size", lambda value: value >= 1, "at least 1"),
    ("seed", lambda value: 0 <= value < 2**32, f"from 0 to {2**32 - 1}"),
    ("crop", lambda value: 0 <= value < IMAGE_SIZE, f"from 0 to below {IMAGE_SIZE}, the size of an image"),
    ("cutout", lambda value: 0 <= value < 2 * IMAGE_SIZE, f"from 0 to below {2 * IMAGE_SIZE}, which blanks an image"),
    ("lr filter_lr weight_decay early_stop plateau_patience", lambda value: 0 <= value < inf, "finite, not negative"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One way to train one model. Each field's text is its help on the command line."""

    model: Annotated[str, "network to train, a name of the registry"]
    epochs: Annotated[int, "times that every training image is shown"]
    batch_size: Annotated[int, "images in one step, of all processes together"] = 500

    optimizer: Annotated[Literal["sgd", "adam", "muon"], "muon: for convolution filters, with SGD for the rest"] = "sgd"
    lr: Annotated[float, "peak learning rate of SGD or Adam"] = 0.1
    filter_lr: Annotated[float, "peak learning rate of Muon"] = 0.03
    momentum: Annotated[float, "of SGD and Muon, below 1"] = 0.9
    nesterov: Annotated[bool, "Nesterov's form of SGD's momentum"] = True
    weight_decay: Annotated[float, "of matrices and filters under SGD; never of biases and batch norm"] = 0.0

    schedule: Annotated[
        Literal["linear", "constant", "step", "plateau"],
        "linear: up in the warm-up, down to 0; step: a tenth after step_epoch; plateau: a tenth when validation stalls",
    ] = "linear"
    warmup: Annotated[float, "linear: share of the steps in which the learning rate rises"] = 0.1
    step_epoch: Annotated[int, "step: epochs at the full learning rate"] = 0
    plateau_patience: Annotated[int, "plateau: epochs without a lower validation loss that are borne"] = 4
    early_stop: Annotated[int, "stop after this many epochs without a lower validation loss; 0: never"] = 0

    label_smoothing: Annotated[float, "share of the target that all labels divide among them"] = 0.0
    flip: Annotated[Literal["none", "random", "alternating"], "mirror images left to right"] = "none"
    tripled: Annotated[bool, "show each image three times an epoch: as it is, upside down and mirrored"] = False
    crop: Annotated[int, "shift images by up to this many pixels, reflecting at the border"] = 0
    cutout: Annotated[int, "side of a square that is blanked, in pixels: to grey; to black with normalisation=none"] = 0
    cutmix: Annotated[float, "share of the images that get a patch of another, and that share of its label"] = 0.0
    ema: Annotated[float, "decay, for each step, of the running average of the weights that is kept; 0: none"] = 0.0

    start: Annotated[str, "checkpoint whose weights the run begins with, instead of fresh ones"] = ""
    teachers: Annotated[str, "checkpoints, commas between them, whose mean answer is learned beside the labels"] = ""
    teacher_weight: Annotated[float, "teachers: share of the loss that is theirs; the labels have the rest"] = 0.9
    teacher_temperature: Annotated[float, "teachers: what their logits and the network's are divided by"] = 4.0

    normalisation: Annotated[
        Literal["cifar10", "half", "none"], "cifar10: its mean and deviation; half: levels in [-1, 1]; none: in [0, 1]"
    ] = "cifar10"
    validation: Annotated[float, "share of the training images that is held out, stratified, to choose by"] = 0.1
    seed: Annotated[int, "of weights, order, augmentation and the validation split"] = 0
    precision: Annotated[Literal["auto", "bf16", "fp32"], "auto: bf16 where the device computes in it"] = "auto"
    compile: Annotated[
        bool, "compile the network with torch.compile; pays from a quarter of an hour of training on"
    ] = False
    tensorboard: Annotated[Literal["plain", "seed000", "seed003", "seed004"], "names of the TensorBoard tags"] = "plain"

    def __post_init__(self) -> None:
        for names, keeps, rule in _RULES:
            for name in names.split():
                value = getattr(self, name)
                if not keeps(value):
                    raise InputError(f"{name} must be {rule}, got {value}.")
        if self.schedule == "step" and self.step_epoch < 1:
            raise InputError(f"schedule=step needs step_epoch of at least 1, got {self.step_epoch}.")


# Fields that count beside others alone: those, whether they do, and what they need.
_NEEDS: tuple[tuple[str, Callable[[Recipe], bool], str], ...] = (
    ("filter_lr", lambda recipe: recipe.optimizer == "muon", "optimizer=muon"),
    ("momentum nesterov weight_decay", lambda recipe: recipe.optimizer != "adam", "optimizer=sgd or muon"),
    ("nesterov", lambda recipe: recipe.momentum > 0, "momentum above 0"),
    ("warmup", lambda recipe: recipe.schedule == "linear", "schedule=linear"),
    ("step_epoch", lambda recipe: recipe.schedule == "step", "schedule=step"),
    ("plateau_patience", lambda recipe: recipe.schedule == "plateau", "schedule=plateau"),
    ("teacher_weight teacher_temperature", lambda recipe: bool(recipe.teachers), "teachers"),
    ("label_smoothing", lambda recipe: not recipe.teachers or recipe.teacher_weight < 1, "teacher_weight below 1"),
)


def check_effect(recipe: Recipe, asked: Iterable[str]) -> None:
    """Raises InputError for a field that somebody asked for and that the recipe would not look at."""
    for names, counts, need in _NEEDS:
        for name in sorted({*names.split()} & {*asked}):
            if not counts(recipe):
                raise InputError(f"{name} changes nothing in this recipe, as it needs {need}; leave it out.")


DEFAULTS = {field.name: field.default for field in fields(Recipe) if field.default is not MISSING}
