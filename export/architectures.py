"""Every registered network, with fresh weights, through ONNX and TorchScript and their gate."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from cifar_models.cifar10 import LABELS
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.errors import InputError
from cifar_models.fold import fold_batch_norm
from cifar_models.manifest import Parity
from cifar_models.registry import list_models
from export.formats import FORMATS, open_runner
from export.golden import smooth_images
from export.onnx_file import export_onnx
from export.parity import Evidence, check_parity
from export.reference import round_to_half
from export.torchscript_file import export_torchscript

_WRITERS = {"onnx-fp32": export_onnx, "torchscript-fp32": export_torchscript}
_BATCHES = (0, 1, 2, 3, 7)  # a hundred layers on more would take minutes
_IMAGES = max(_BATCHES)
_SPREAD = 0.3  # of a logit, over images: standard deviation


def check_all_architectures() -> Iterator[str]:
    """A line for each. Raises ParityError at the first network that a format cannot hold.

    Raises InputError when there is no room for temporary files.
    """
    for name in list_models():
        try:
            found = check_architecture(name)
        except OSError as error:
            raise InputError(
                f"{error.filename or 'A file'} cannot be written ({error.strerror}); make room in the folder for "
                "temporary files, or name another one in TMPDIR."
            ) from error
        logits = ", ".join(f"{key} {parity.find('logits').difference:.1e}" for key, parity in found.items())
        yield f"{name:24} agrees: logits within {logits}"


def check_architecture(name: str, *, batches: Sequence[int] = _BATCHES) -> dict[str, Parity]:
    """How ONNX and TorchScript files of the network agree with it. Raises ParityError."""
    with TemporaryDirectory() as folder:
        model = fresh_classifier(name)
        count = max(batches)
        evidence = Evidence(model, ImageSet(smooth_images(count), np.zeros(count, np.int64), LABELS), batches=batches)
        found = {}
        for key, write in _WRITERS.items():
            path = Path(folder, FORMATS[key].file)
            write(model, path, {})
            found[key] = check_parity(key, partial(open_runner, key, path), evidence).parity
    return found


@torch.no_grad()
def fresh_classifier(name: str) -> Classifier:
    """As an export would find it, but for the training: batch norm folded, weights rounded.

    The head is scaled so that logits differ as much between images as they may: of fresh weights a hundred layers add
    up to thousands, or shrink to nothing, and errors would be judged by a tolerance that does not fit.
    """
    torch.manual_seed(0)
    model = Classifier(name, num_classes=len(LABELS)).eval()
    *_, head = (module for module in model.modules() if isinstance(module, nn.Linear))
    factor = _SPREAD / model.logits(torch.from_numpy(smooth_images(_IMAGES))).std(0).mean()
    for parameter in head.parameters():
        parameter.mul_(factor)
    model.network = fold_batch_norm(model.network)
    round_to_half(model)
    return model
