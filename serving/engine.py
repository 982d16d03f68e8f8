"""Networks that compute: pixels in, probabilities out, on one device. Knows neither HTTP nor batching."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from cifar_models.bundle import Probabilities
from cifar_models.errors import InputError
from cifar_models.picture import Pixels


class Engine(Protocol):
    """Images uint8 [n, 32, 32, 3] to probabilities float32 [n, classes], for any n from 1."""

    def __call__(self, images: Pixels) -> Probabilities: ...


class OnnxCpu:
    """ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Waiting threads would spin on the cores that decode the next requests.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Pixels) -> Probabilities:
        (probabilities,) = self._session.run(["probabilities"], {"images": images})
        return np.asarray(probabilities)


class OnnxCuda:
    """ONNX Runtime on the first CUDA device."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        onnxruntime.preload_dlls()
        options = onnxruntime.SessionOptions()
        # ONNX Runtime would fall back to the CPU with no more than a line in the log.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        # An exhaustive search would tune anew for each batch size that it has not met.
        cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})
        self._session = onnxruntime.InferenceSession(path, options, providers=[cuda])
        if self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise InputError(f"ONNX Runtime runs {path} on {self._session.get_providers()[0]}, not on CUDA.")

    def __call__(self, images: Pixels) -> Probabilities:
        (probabilities,) = self._session.run(["probabilities"], {"images": images})
        return np.asarray(probabilities)


class TorchScript:
    """TorchScript on a torch device. The only engine that loads torch."""

    def __init__(self, path: Path, threads: int, *, device: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)
        if device == "cpu":
            torch.set_num_threads(threads)
        self._module = torch.jit.load(path, map_location=self._device)  # type: ignore[no-untyped-call]

    def __call__(self, images: Pixels) -> Probabilities:
        with self._torch.inference_mode():
            _, probabilities = self._module(self._torch.tensor(images, device=self._device))
        return np.asarray(probabilities.cpu().numpy())


@dataclass(frozen=True, slots=True)
class EngineKind:
    """An engine by name: the artifact that it runs, where, and how close to the golden probabilities it must come."""

    artifact: str
    cuda: bool
    atol: float
    load: Callable[[Path, int], Engine]


def torchscript_cuda(path: Path, threads: int) -> Engine:
    return TorchScript(path, threads, device="cuda")


def torchscript_cpu(path: Path, threads: int) -> Engine:
    return TorchScript(path, threads, device="cpu")


# Fastest first; CUDA may compute in TF32, and int8 rounds a little differently on other processors.
ENGINES: dict[str, EngineKind] = {
    "onnxruntime-cuda-fp32": EngineKind("onnx-fp32", cuda=True, atol=5e-3, load=OnnxCuda),
    "torchscript-cuda-fp32": EngineKind("torchscript-fp32", cuda=True, atol=5e-3, load=torchscript_cuda),
    "onnxruntime-cpu-int8": EngineKind("onnx-int8", cuda=False, atol=2e-2, load=OnnxCpu),
    "onnxruntime-cpu-fp32": EngineKind("onnx-fp32", cuda=False, atol=1e-4, load=OnnxCpu),
    "torchscript-cpu-fp32": EngineKind("torchscript-fp32", cuda=False, atol=1e-4, load=torchscript_cpu),
}
AUTO = "auto"
