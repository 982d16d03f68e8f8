"""A run folder: the checkpoints and the metrics of one training run."""

import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from cifar_models.atomic import replacing
from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.cifar10 import MEAN, STD
from cifar_models.dataset import ImageSet, split_validation
from cifar_models.errors import InputError
from training.recipe import Recipe
from training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    epoch: int  # 1-based
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch:3d}   train loss {self.train_loss:.4f}   validation loss {self.validation_loss:.4f}   "
            f"accuracy {self.validation_accuracy:.2%}   {self.seconds:.1f} s"
        )


@dataclass(kw_only=True, slots=True)
class Run:
    """A recipe applied to a training set, and the folder that keeps what comes of it."""

    folder: Path
    recipe: Recipe
    data: ImageSet  # the whole training set
    data_name: str
    history: list[EpochMetrics] = field(default_factory=list)
    data_fingerprint: str = field(init=False)
    # Asked once: the code that runs is that of the start, whatever happens to the files later.
    source_revision: str = field(init=False)

    def __post_init__(self) -> None:
        self.source_revision = source_revision()
        self.data_fingerprint = self.data.fingerprint()
        if not self.recipe.validation:
            raise InputError(
                "validation is 0, but the best epoch is chosen on held-out images; give it a share above 0."
            )

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    def open(self) -> None:
        """Make the folder, so that a run that cannot be kept fails before it has trained. Raises InputError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be made ({error.strerror}); name another folder with --run."
            ) from error

    def split(self) -> tuple[ImageSet, ImageSet]:
        """Training and validation images; the same cut for the same data, share and seed."""
        training, validation = split_validation(self.data.labels, self.recipe.validation, self.recipe.seed)
        return self.data.subset(training), self.data.subset(validation)

    def save(self, trainer: Trainer, metrics: EpochMetrics) -> None:
        """Record an epoch: metrics.jsonl, best.pt if no earlier epoch was as good on validation, and last.pt."""
        is_best = all(metrics.validation_accuracy > past.validation_accuracy for past in self.history)
        self.history.append(metrics)
        checkpoint = self.checkpoint(trainer)
        with replacing(self.folder / "metrics.jsonl") as partial:
            partial.write_text("".join(json.dumps(asdict(past)) + "\n" for past in self.history))
        if is_best:
            checkpoint.save(self.best)
        checkpoint.save(self.last)  # last of all: a run that is killed before repeats the epoch and writes the same

    def checkpoint(self, trainer: Trainer) -> Checkpoint:
        _, validation = split_validation(self.data.labels, self.recipe.validation, self.recipe.seed)
        return Checkpoint(
            architecture=self.recipe.model,
            labels=list(self.data.classes),
            mean=list(MEAN),
            std=list(STD),
            weights={name: value.cpu() for name, value in trainer.model.state_dict().items()},
            history=[asdict(metrics) for metrics in self.history],
            recipe=asdict(self.recipe),
            data_name=self.data_name,
            data_fingerprint=self.data_fingerprint,
            validation=torch.from_numpy(validation),
            source_revision=self.source_revision,
            training_state=trainer.state(),
        )

    def resume(self, trainer: Trainer) -> None:
        """Go on after the last saved epoch. Raises InputError when the recipe or the data are not those of the run."""
        saved = load_checkpoint(self.last)
        changed = [name for name, value in asdict(self.recipe).items() if saved.recipe.get(name) != value]
        if changed:
            values = ", ".join(f"{name} was {saved.recipe.get(name)}" for name in changed)
            raise InputError(
                f"{self.folder} was trained with another recipe ({values}); name another folder with --run."
            )
        if saved.data_fingerprint != self.data_fingerprint:
            raise InputError(f"{self.folder} was trained on other images ({saved.data_name}); give it the same --data.")
        self.history = [EpochMetrics(**metrics) for metrics in saved.history]
        self.data_name = saved.data_name
        trainer.restore(saved.epoch, saved.weights, saved.training_state)


def source_revision() -> str:
    """The commit of this checkout, with "-dirty" when files differ from it; "unknown" outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
