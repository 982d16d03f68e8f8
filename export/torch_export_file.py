"""torch.export (.pt2): what comes after TorchScript, for a process that has torch and not our code."""

import io
import json
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from cifar_models.classifier import Classifier
from export.reference import EXAMPLE
from export.runner import Runner, Target
from export.torch_archive import METADATA
from export.torch_runner import torch_runner

_TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


def export_torch_export(model: Classifier, path: Path, metadata: dict[str, str]) -> None:
    """Export the model for any batch and write it to `path`, with `metadata` inside as JSON."""
    program = torch.export.export(model, (EXAMPLE,), dynamic_shapes=({0: Dim.DYNAMIC},))
    strip(program)
    buffer = io.BytesIO()  # as for TorchScript
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata)})
    path.write_bytes(buffer.getbuffer())


def strip(program: ExportedProgram) -> None:
    """Remove what each node notes of the source that it comes from: paths of this machine among it."""
    for node in program.graph.nodes:
        for name in _TRACES:
            node.meta.pop(name, None)


def open_torch_export(path: Path, target: Target) -> Runner:
    return torch_runner(torch.export.load(path).module(), target)
