"""Exported files, run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from cifar_models.picture import Pixels
from export.torchscript_file import quiet_torchscript

Outputs = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # logits and probabilities, [n, classes]
Runner = Callable[[Pixels], Outputs]

_BATCH = 128


def onnx_runner(path: Path) -> Runner:
    """Run an ONNX file on the CPU."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Pixels) -> Outputs:
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
        return np.asarray(logits), np.asarray(probabilities)

    return run


def torchscript_runner(path: Path) -> Runner:
    """Run a TorchScript file on the CPU."""
    with quiet_torchscript():
        module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def run(images: Pixels) -> Outputs:
        logits, probabilities = module(torch.from_numpy(np.array(images)))
        return logits.numpy(), probabilities.numpy()

    return run


def run_in_batches(run: Runner, images: Pixels) -> Outputs:
    """The outputs of many images, some at a time."""
    parts = [run(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


# Every file of a bundle: how it is called, and how it is run.
FILES: dict[str, str] = {
    "onnx-fp32": "model.onnx",
    "onnx-int8": "model.int8.onnx",
    "torchscript-fp32": "model.torchscript.pt",
}


def open_runner(key: str, path: Path) -> Runner:
    return torchscript_runner(path) if key.startswith("torchscript") else onnx_runner(path)
