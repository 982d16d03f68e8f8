"""The trained networks that a recipe names: those that the run learns from, and the one that it begins with."""

from pathlib import Path

import torch
from torch import Tensor

from cifar_models.bundle import sha256
from cifar_models.calibration import fit_calibration
from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.errors import InputError
from cifar_models.fold import fold_batch_norm
from cifar_models.registry import create_model
from training.distillation import Teacher
from training.evaluation import predict
from training.model import NORMALISATION, has_batch_norm
from training.narrowing import narrowed_like
from training.run import Run

_NARROWING_IMAGES = 500


def load_teacher(run: Run, device: torch.device) -> Teacher | None:
    """The teacher that the run's recipe names, if any. Raises InputError for one that does not fit the run."""
    paths = [Path(name) for name in run.recipe.teachers.split(",") if name]
    checkpoints = [load_ancestor("teacher", path, run) for path in paths]
    if not checkpoints:
        return None
    held_out = run.data.subset(run.validation)
    classifiers = [calibrated(checkpoint.classifier(), held_out) for checkpoint in checkpoints]
    for classifier in classifiers:
        classifier.network = fold_batch_norm(classifier.network)  # it answers at every step, and never learns
    return Teacher(classifiers, run.recipe, device)


def calibrated(classifier: Classifier, held_out: ImageSet) -> Classifier:
    """Made honest, so that of several teachers none counts more for being loud."""
    logits = predict(classifier, held_out, torch.device("cpu"))
    classifier.calibrate(fit_calibration(logits, held_out.labels))
    return classifier


def load_start(run: Run) -> dict[str, Tensor] | None:
    """The weights that the run's recipe begins with, if it names any. Raises InputError for ones that do not fit.

    A network that is the run's but for more channels inside its stages fits too: it is narrowed.
    """
    if not run.recipe.start:
        return None
    path = Path(run.recipe.start)
    checkpoint = load_ancestor("start", path, run)
    if (checkpoint.mean, checkpoint.std) != tuple(map(list, NORMALISATION[run.recipe.normalisation])):
        raise InputError(f"The start {path} takes images normalised otherwise; train with its --normalisation.")
    classifier = checkpoint.classifier()
    if checkpoint.architecture != run.recipe.model:
        wanted = create_model(run.recipe.model, num_classes=len(run.data.classes))
        images = classifier.preprocess(torch.from_numpy(run.split()[0].sample(_NARROWING_IMAGES).images))
        network = narrowed_like(classifier.network, wanted, images)
        if network is None:
            raise InputError(f"The start {path} is of {checkpoint.architecture}, and the run of {run.recipe.model}.")
        classifier.network = network
    if run.recipe.optimizer == "muon" and not has_batch_norm(classifier):
        raise InputError(
            f"Muon would change the norms of the filters of the start {path}, and {run.recipe.model} has no batch norm "
            "to make up for it; train with --optimizer sgd."
        )
    return classifier.state_dict()


def load_ancestor(role: str, path: Path, run: Run) -> Checkpoint:
    """A checkpoint that the run learns from, and from now on says so.

    Raises InputError for one of other images or labels, or one that has seen what the run holds out.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.labels != list(run.data.classes):
        raise InputError(
            f"The {role} {path} knows the labels {', '.join(checkpoint.labels)}, which are not the data's."
        )
    if checkpoint.data_fingerprint != run.data_fingerprint:
        raise InputError(f"The {role} {path} was trained on other images ({checkpoint.data_name}) than this run's.")
    if not set(run.validation.tolist()) <= set(checkpoint.validation.tolist()):
        raise InputError(
            f"The {role} {path} was trained on images that this run holds out to choose by; "
            "train both with the same --validation and --seed."
        )
    run.ancestors[str(path)] = sha256(path)
    return checkpoint
