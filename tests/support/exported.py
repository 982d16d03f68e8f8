"""What exported files hold, read by the libraries themselves, as somebody without this package would."""

import json
import zipfile
from pathlib import Path

import onnx
import torch
from safetensors import safe_open

from export.torchscript_file import quiet_torchscript


def members(path: Path) -> dict[str, bytes]:
    """A file's bytes, and, as some formats compress them, those of every member if it is an archive."""
    found = {path.name: path.read_bytes()}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            found |= {f"{path.name}/{name}": archive.read(name) for name in archive.namelist()}
    return found


def holding(traces: list[str], bundle: Path) -> list[str]:
    """The files, and members of files, in which one of the traces is found."""
    found = [members(path) for path in bundle.iterdir()]
    return [name for file in found for name, data in file.items() if any(trace.encode() in data for trace in traces)]


def read_onnx(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def read_torchscript(path: Path) -> dict[str, str]:
    extra = {"metadata.json": ""}
    with quiet_torchscript():
        torch.jit.load(path, _extra_files=extra)  # type: ignore[no-untyped-call]
    return dict(json.loads(extra["metadata.json"]))


def read_torch_export(path: Path) -> dict[str, str]:
    extra = {"metadata.json": ""}
    torch.export.load(path, extra_files=extra)
    return dict(json.loads(extra["metadata.json"]))


def read_safetensors(path: Path) -> dict[str, str]:
    with safe_open(path, framework="np") as file:
        return dict(file.metadata())


READERS = {
    "onnx": read_onnx,
    "torchscript": read_torchscript,
    "torch-export": read_torch_export,
    "safetensors": read_safetensors,
}
