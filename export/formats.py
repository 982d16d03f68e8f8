"""The files of a bundle: how each is called, opened, and asked what it says of itself."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cifar_models.manifest import Arithmetic
from export.onnx_file import open_onnx, read_onnx_metadata
from export.runner import CPU, Runner, Target
from export.safetensors_file import open_safetensors, read_safetensors_metadata
from export.torch_archive import read_torch_metadata
from export.torch_export_file import open_torch_export
from export.torchscript_file import open_torchscript


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file. `arithmetics` are those in which it is also compared where there is a CUDA device."""

    file: str
    open: Callable[[Path, Target], Runner]
    read_metadata: Callable[[Path], dict[str, str]]
    arithmetics: tuple[Arithmetic, ...] = ()


FORMATS: dict[str, Format] = {
    "onnx-fp32": Format("model.onnx", open_onnx, read_onnx_metadata, ("fp32", "tf32")),
    "onnx-int8": Format("model.int8.onnx", open_onnx, read_onnx_metadata),
    "torchscript-fp32": Format("model.torchscript.pt", open_torchscript, read_torch_metadata, ("fp32", "tf32", "fp16")),
    "torch-export-fp32": Format("model.pt2", open_torch_export, read_torch_metadata),
    "safetensors-fp32": Format("model.safetensors", open_safetensors, read_safetensors_metadata),
}
SERVED = {"onnx-fp32", "onnx-int8", "torchscript-fp32"}  # the others are for programs of one's own


def open_runner(key: str, path: Path, target: Target = CPU) -> Runner:
    return FORMATS[key].open(path, target)


def measured_on_test(keys: Iterable[str]) -> list[str]:
    """Those of the formats of a bundle whose figures on the test images are measured.

    One for each library and precision: what the others get right follows from that and from their agreement, label for
    label, on the validation images.
    """
    first: dict[tuple[str, str], str] = {}
    for key in keys:
        format_, _, precision = key.rpartition("-")
        first.setdefault(("onnx" if format_ == "onnx" else "torch", precision), key)
    return list(first.values())
