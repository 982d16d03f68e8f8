"""The model that an export must equal: eager PyTorch, float32, on the CPU, with the weights that all formats hold."""

import hashlib

import torch

from cifar_models.calibration import fit_calibration
from cifar_models.checkpoint import Checkpoint
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.errors import InputError
from cifar_models.fold import fold_batch_norm
from cifar_models.picture import Pixels
from export.runner import CPU, Outputs
from export.torch_runner import torch_runner

EXAMPLE = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)  # images that graphs are captured with; 1 would be a constant
_LARGE = 1000  # numbers


def build_reference(checkpoint: Checkpoint, validation: ImageSet) -> Classifier:
    """The trained model in eval mode, as it will be served: batch norm folded, weights rounded, calibrated.

    The calibration is fitted on `validation`. Raises InputError when a weight is not finite. How far all this is from
    the checkpoint is for `parity.check_rounding` to say.
    """
    model = checkpoint.classifier()
    model.network = fold_batch_norm(model.network)
    round_to_half(model)
    logits, _ = run_reference(model, validation.images)
    model.calibrate(fit_calibration(logits, validation.labels))
    return model


@torch.no_grad()
def round_to_half(model: Classifier) -> None:
    """Round the large weights to float16 and keep them as float32: formats that store halves lose nothing.

    Small ones stay as they are: they take no room, and a whitening stem, which is one of them, amplifies rounding.
    """
    for name, value in model.network.state_dict().items():
        if value.is_floating_point():
            if value.numel() >= _LARGE:
                value.copy_(value.half().float())
            if not value.isfinite().all():
                raise InputError(
                    f"The weights {name} are not finite as float16: the run diverged; train with a lower lr."
                )


def run_reference(model: Classifier, images: Pixels) -> Outputs:
    """Logits and probabilities float32 [n, classes] of images uint8 [n, 32, 32, 3]."""
    return torch_runner(model, CPU).in_batches(images)


def weights_sha256(model: Classifier) -> str:
    """The hash of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
