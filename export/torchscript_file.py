"""TorchScript: traced and frozen, for a process that has torch and not our code."""

import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from cifar_models.classifier import Classifier
from export.reference import EXAMPLE
from export.runner import Runner, Target
from export.torch_archive import METADATA
from export.torch_runner import torch_runner

# A trace keeps what cuDNN was allowed while it was made, TF32 too; a process that runs the file could not forbid it.
_GRAPH = "graph(%x, %weight, %bias, %stride, %padding, %dilation, %transposed, %out, %groups, %b, %d, %e, %t)"
_TRACED = f"""{_GRAPH}:
  %y = aten::_convolution(
    %x, %weight, %bias, %stride, %padding, %dilation, %transposed, %out, %groups, %b, %d, %e, %t)
  return (%y)"""
_FREE = f"""{_GRAPH}:
  %y : Tensor = aten::conv2d(%x, %weight, %bias, %stride, %padding, %dilation, %groups)
  return (%y)"""


def export_torchscript(model: Classifier, path: Path, metadata: dict[str, str]) -> None:
    """Trace the model and write it to `path`, with `metadata` inside as JSON."""
    with quiet_torchscript(), torch.inference_mode():
        module = torch.jit.freeze(torch.jit.trace(model, (EXAMPLE,), check_trace=False))  # type: ignore[no-untyped-call]
        torch._C._jit_pass_custom_pattern_based_rewrite_graph(_TRACED, _FREE, module.graph)
        buffer = io.BytesIO()  # writing to a file by itself, torch would hide what the disk says
        torch.jit.save(module, buffer, _extra_files={METADATA: json.dumps(metadata)})
    path.write_bytes(buffer.getbuffer())


def open_torchscript(path: Path, target: Target) -> Runner:
    with quiet_torchscript():
        module = torch.jit.load(path, map_location=target.device)  # type: ignore[no-untyped-call]
    return torch_runner(module, target)


@contextmanager
def quiet_torchscript() -> Iterator[None]:
    """TorchScript is deprecated in favour of torch.export; it is still what many C++ and mobile programs load."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        yield
