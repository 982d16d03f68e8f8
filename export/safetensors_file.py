"""safetensors: the weights alone, for whoever has the network's code; batch norm is folded into them."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from cifar_models.calibration import Calibration
from cifar_models.classifier import Classifier
from cifar_models.fold import fold_batch_norm
from export.runner import Runner, Target
from export.torch_runner import torch_runner


def export_safetensors(model: Classifier, path: Path, metadata: dict[str, str]) -> None:
    """Write the network's weights to `path`, as halves where halves hold them exactly."""
    weights = {name: value.contiguous() for name, value in model.network.state_dict().items()}
    path.write_bytes(save({name: halved(value) for name, value in weights.items()}, metadata))
    sort_header(path)


def sort_header(path: Path) -> None:
    """Put the names in the file's header in order: the library writes the metadata in another one every time.

    The format is a header's length in 8 bytes, the header as JSON, padded with spaces, and the numbers.
    """
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    path.write_bytes(content[:8] + header.encode().ljust(length) + content[8 + length :])


def halved(value: Tensor) -> Tensor:
    """As float16 where that loses nothing."""
    half = value.half()
    return half if value.is_floating_point() and torch.equal(half.float(), value) else value


def load_safetensors(path: Path) -> Classifier:
    """The classifier of an exported file, float32, on the CPU and in eval mode."""
    metadata = read_safetensors_metadata(path)
    model = Classifier(
        metadata["architecture"],
        num_classes=len(json.loads(metadata["labels"])),
        mean=json.loads(metadata["mean"]),
        std=json.loads(metadata["std"]),
    )
    model.network = fold_batch_norm(model.network)
    model.network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    model.calibrate(Calibration(float(metadata["temperature"]), float(metadata["sharpening"])))
    return model.eval()


def open_safetensors(path: Path, target: Target) -> Runner:
    return torch_runner(load_safetensors(path).to(target.device), target)


def read_safetensors_metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata
