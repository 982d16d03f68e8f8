"""TorchScript: traced and frozen, for a process that has torch and not our code."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import torch

from cifar_models.classifier import Classifier

METADATA = "metadata.json"
_EXAMPLE = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)


def export_torchscript(model: Classifier, path: Path, metadata: dict[str, str]) -> None:
    """Trace the model and write it to `path`, with `metadata` inside as JSON."""
    with quiet_torchscript(), torch.inference_mode():
        module = torch.jit.freeze(torch.jit.trace(model, (_EXAMPLE,)))  # type: ignore[no-untyped-call]
        torch.jit.save(module, path, _extra_files={METADATA: json.dumps(metadata)})
    strip(path)


def strip(path: Path) -> None:
    """Remove what torch notes for debuggers: the paths of this machine's source files, line by line."""
    with ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist() if not name.endswith(".debug_pkl")}
    with ZipFile(path, "w", ZIP_STORED) as file:
        for name, data in members.items():
            file.writestr(ZipInfo(name), data)


@contextmanager
def quiet_torchscript() -> Iterator[None]:
    """TorchScript is deprecated in favour of torch.export; it is still what many C++ and mobile programs load."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        yield
