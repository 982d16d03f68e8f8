"""TorchScript: traced and frozen, for a process that has torch and not our code."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from cifar_models.classifier import Classifier

METADATA = "metadata.json"
_EXAMPLE = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)


def export_torchscript(model: Classifier, path: Path, metadata: dict[str, str]) -> None:
    """Trace the model and write it to `path`, with `metadata` inside as JSON."""
    with quiet_torchscript(), torch.inference_mode():
        module = torch.jit.freeze(torch.jit.trace(model, (_EXAMPLE,)))  # type: ignore[no-untyped-call]
        torch.jit.save(module, path, _extra_files={METADATA: json.dumps(metadata)})


@contextmanager
def quiet_torchscript() -> Iterator[None]:
    """TorchScript is deprecated in favour of torch.export; it is still what many C++ and mobile programs load."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        yield
