"""The trained networks that a recipe names as its teachers."""

from pathlib import Path

import torch

from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.errors import InputError
from training.distillation import Teacher
from training.run import Run


def load_teacher(run: Run, device: torch.device) -> Teacher | None:
    """The teacher that the run's recipe names, if any. Raises InputError for one that does not fit the run."""
    paths = [Path(name) for name in run.recipe.teachers.split(",") if name]
    if not paths:
        return None
    checkpoints = [load_checkpoint(path) for path in paths]
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        check_teacher(path, checkpoint, run)
    return Teacher([checkpoint.classifier() for checkpoint in checkpoints], run.recipe, device)


def check_teacher(path: Path, checkpoint: Checkpoint, run: Run) -> None:
    if checkpoint.labels != list(run.data.classes):
        raise InputError(
            f"The teacher {path} knows the labels {', '.join(checkpoint.labels)}, which are not the data's."
        )
    if checkpoint.data_fingerprint != run.data_fingerprint:
        raise InputError(f"The teacher {path} was trained on other images ({checkpoint.data_name}) than this run's.")
    if not set(run.validation.tolist()) <= set(checkpoint.validation.tolist()):
        raise InputError(
            f"The teacher {path} was trained on images that this run holds out to choose by; "
            "train both with the same --validation and --seed."
        )
