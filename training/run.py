"""A run folder: the checkpoints and the metrics of one training run."""

import errno
import fcntl
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from cifar_models.atomic import abandoned, saving
from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.dataset import ImageSet, Indices, split_validation
from cifar_models.errors import InputError
from cifar_models.presence import is_there
from cifar_models.revision import DIRTY, source_revision
from training.model import NORMALISATION
from training.recipe import DEFAULTS, Recipe
from training.trainer import Trainer

_PATIENCE = 20  # times as long as it took to write the checkpoints, until they are written again
_FREE = ("compile", "tensorboard")  # fields of a recipe that say how it is computed and shown, not what is learnt
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # of a filesystem that has none


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """What an epoch came to; one line of metrics.jsonl."""

    epoch: int  # 1-based
    lr: float  # of SGD or Adam, at the epoch's first step
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float  # training and validation

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch:3d}   lr {self.lr:.2e}   train loss {self.train_loss:.4f} accuracy "
            f"{self.train_accuracy:.2%}   validation loss {self.validation_loss:.4f} accuracy "
            f"{self.validation_accuracy:.2%}   {self.seconds:.1f} s"
        )


@dataclass(kw_only=True, slots=True)
class Run:
    """A recipe applied to a training set, and the folder that keeps what comes of it."""

    folder: Path
    recipe: Recipe
    data: ImageSet  # the whole training set
    data_name: str
    history: list[EpochMetrics] = field(default_factory=list)
    training: Indices = field(init=False)  # of `data`
    validation: Indices = field(init=False)
    data_fingerprint: str = field(init=False)
    # Asked once: the code that runs is that of the start, whatever happens to the files later.
    source_revision: str = field(init=False)
    ancestors: dict[str, str] = field(init=False, default_factory=dict)  # sha256 of each checkpoint that it learns from
    unsaved_best: Checkpoint | None = field(init=False, default=None)
    is_saved: bool = field(init=False, default=True)
    saved_at: float = field(init=False, default=-math.inf)  # time.monotonic()
    saving_seconds: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.training, self.validation = split_validation(self.data, self.recipe.validation, self.recipe.seed)
        self.data_fingerprint = self.data.fingerprint()
        self.source_revision = source_revision()

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    def split(self) -> tuple[ImageSet, ImageSet]:
        """Training and validation images; the same cut for the same data, share and seed."""
        return self.data.subset(self.training), self.data.subset(self.validation)

    def save_epoch(self, trainer: Trainer, metrics: EpochMetrics) -> None:
        """Record an epoch in metrics.jsonl, and keep it if no earlier one was as good on validation.

        The checkpoints are written too, unless the last ones are younger than twenty times what it took to write them,
        as after every epoch of a second on a GPU; then a later epoch, or `finish`, writes them.
        """
        is_best = all(goodness(metrics) > goodness(past) for past in self.history)
        self.history.append(metrics)
        self.write_metrics()
        self.is_saved = False
        is_due = time.monotonic() - self.saved_at >= _PATIENCE * self.saving_seconds
        if is_best:
            best = self.checkpoint(trainer)
            self.unsaved_best = best if is_due else deepcopy(best)  # training goes on in the tensors of its state
        if is_due:
            self.save(trainer)

    def write_metrics(self) -> None:
        with saving(self.folder / "metrics.jsonl") as partial:
            partial.write_text("".join(json.dumps(asdict(past)) + "\n" for past in self.history))

    def save(self, trainer: Trainer) -> None:
        """Write best.pt if there is a better one, and last.pt, where the run stands."""
        began = time.monotonic()
        self.save_best()
        self.checkpoint(trainer).save(self.last)
        self.is_saved, self.saved_at = True, time.monotonic()
        self.saving_seconds = self.saved_at - began

    def save_best(self) -> None:
        if self.unsaved_best is not None:
            self.unsaved_best.save(self.best)
            self.unsaved_best = None

    def finish(self, trainer: Trainer) -> None:
        """Write what `save_epoch` left unwritten."""
        if not self.is_saved:
            self.save(trainer)

    def checkpoint(self, trainer: Trainer) -> Checkpoint:
        mean, std = NORMALISATION[self.recipe.normalisation]
        return Checkpoint(
            architecture=self.recipe.model,
            labels=list(self.data.classes),
            mean=list(mean),
            std=list(std),
            weights=trainer.weights(),
            history=[asdict(metrics) for metrics in self.history],
            recipe=asdict(self.recipe),
            data_name=self.data_name,
            data_fingerprint=self.data_fingerprint,
            validation=torch.from_numpy(self.validation),
            source_revision=self.source_revision,
            ancestors=self.ancestors,
            training_state=trainer.state(),
        )

    def resume(self, trainer: Trainer) -> None:
        """Go on where the run was saved. Raises InputError when recipe, data or teachers are not those of the run.

        Of the recipe, what says how it is computed and shown may be another.
        """
        path, saved = self.newest()
        was = {**DEFAULTS, **saved.recipe}  # which may be of a time when there were fewer fields
        changed = [name for name, value in asdict(self.recipe).items() if was.get(name) != value and name not in _FREE]
        if changed:
            values = ", ".join(f"{name} was {was.get(name)}" for name in changed)
            raise InputError(f"{self.folder} was trained by another recipe ({values}); name another folder with --out.")
        if saved.data_fingerprint != self.data_fingerprint:
            raise InputError(f"{self.folder} was trained on other images ({saved.data_name}); give it the same --data.")
        if not torch.equal(saved.validation, torch.from_numpy(self.validation)):
            raise InputError(
                f"{self.folder} holds out other images to choose by than this version would; it was trained "
                f"{way_back(saved)}"
            )
        for teacher, digest in self.ancestors.items():
            if saved.ancestors.get(teacher, digest) != digest:
                raise InputError(f"{teacher} is not what {self.folder} learned from any more; put it back as it was.")
        self.ancestors |= saved.ancestors
        self.is_saved = path == self.last
        self.data_name = saved.data_name
        if saved.source_revision != self.source_revision:
            self.source_revision = saved.source_revision.removesuffix(DIRTY) + DIRTY
        try:
            self.history = [EpochMetrics(**metrics) for metrics in saved.history]
            losses = [metrics.validation_loss for metrics in self.history]
            trainer.restore(saved.training_state, saved.weights, losses)
        except InputError:
            raise
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} does not fit {self.recipe.model} as it is built now; it was trained {way_back(saved)}"
            ) from error

    def newest(self) -> tuple[Path, Checkpoint]:
        """Of last.pt and best.pt the one that is further on: a full disk or a failed epoch may leave either behind."""
        paths = [path for path in (self.last, self.best) if is_there(path)]
        found = {path: load_checkpoint(path) for path in paths or [self.last]}
        return max(found.items(), key=lambda item: (item[1].epoch, item[1].training_state["step"]))


def way_back(saved: Checkpoint) -> str:
    return f"by revision {saved.source_revision}: go on with that one, or train anew in another folder (--out)."


def goodness(metrics: EpochMetrics) -> tuple[float, float]:
    """What an epoch is chosen by. On few and easy images several are right in all, and the first is hardly trained."""
    return metrics.validation_accuracy, -metrics.validation_loss


def read_metrics(folder: Path) -> list[EpochMetrics]:
    """Every epoch that metrics.jsonl of a run has. Raises InputError when it cannot be read."""
    path = folder / "metrics.jsonl"
    try:
        return [EpochMetrics(**json.loads(line)) for line in path.read_text().splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); the run wrote it beside its checkpoints.") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the run folder and hold it, and remove what killed processes left half written there.

    Raises InputError when that fails or another process trains in it. Where the filesystem has no locks nobody knows
    whether one does, and nothing is removed.
    """
    make_folder(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); name another folder with --out.") from error
    try:
        if take(descriptor, folder):
            remove_abandoned(folder, folder / "tensorboard")
        yield
    finally:
        os.close(descriptor)


def take(descriptor: int, folder: Path) -> bool:
    """Whether it is held now; raises InputError when it should be and is not."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{folder} is in use by another training process; name another folder with --out.") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise InputError(
                f"{folder} cannot be locked ({error.strerror}); name another folder with --out."
            ) from error
        return False
    return True


def has_checkpoint(folder: Path) -> bool:
    """Whether a run in it can go on. Raises OSError when that cannot be seen."""
    return any(is_there(folder / name) for name in ("last.pt", "best.pt"))


def remove_abandoned(*folders: Path) -> None:
    """Remove the files that killed processes left half written there, as far as that can be done."""
    for folder in folders:
        for path in abandoned(folder) if folder.exists() else ():
            with suppress(OSError):
                path.unlink()


def make_folder(folder: Path) -> None:
    """Raises InputError when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}); name another folder with --out.") from error
