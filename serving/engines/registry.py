"""Networks that compute: pixels in, probabilities out, on one device. Knows neither HTTP nor batching."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.engines.onnx import OnnxBuckets, OnnxCpu
from serving.engines.torchscript import TorchScript
from serving.engines.ways import Way


class Engine(Protocol):
    """Images uint8 [n, 32, 32, 3], in one part or more, to probabilities float32 [all n, classes], n >= 1.

    The answer is an array of its own: nothing that comes later changes it. `lanes` threads may call at the same time;
    what they ask for is computed by so many `processors` that do not slow one another down.
    """

    lanes: int
    processors: int

    def __call__(self, *parts: Pixels) -> Probabilities: ...

    def ways(self) -> Iterable[Way]:
        """All that a batch may go: the golden images go each of them before anybody else does."""


CUDA_ATOL = 1e-2  # of a probability; more where the calibration is steeper than a plain softmax

Load = Callable[[Path, int, int], Engine]  # the file, threads on the CPU, images of the largest batch


@dataclass(frozen=True, slots=True)
class EngineKind:
    """An engine by name: the artifact that it runs, where, and how close to the golden probabilities it must come."""

    artifact: str
    cuda: bool
    atol: float
    load: Load


def onnx_cpu(path: Path, threads: int, max_batch: int) -> Engine:
    return OnnxCpu(path, threads)


def onnx_cuda(path: Path, threads: int, max_batch: int) -> Engine:
    return OnnxBuckets(path, max_batch, device="cuda")


def torchscript_cpu(path: Path, threads: int, max_batch: int) -> Engine:
    return TorchScript(path, max_batch, device="cpu", threads=threads)


def torchscript_cuda(path: Path, threads: int, max_batch: int) -> Engine:
    return TorchScript(path, max_batch, device="cuda", threads=threads)


# In the order in which they are tried; on CUDA a later one may be faster by far. CUDA may compute in TF32, which moves
# a probability of the networks that ship by up to 0.0055, and int8 rounds a little differently on other processors.
ENGINES: dict[str, EngineKind] = {
    "onnxruntime-cuda-fp32": EngineKind("onnx-fp32", cuda=True, atol=CUDA_ATOL, load=onnx_cuda),
    "torchscript-cuda-fp32": EngineKind("torchscript-fp32", cuda=True, atol=CUDA_ATOL, load=torchscript_cuda),
    "onnxruntime-cpu-int8": EngineKind("onnx-int8", cuda=False, atol=2e-2, load=onnx_cpu),
    "onnxruntime-cpu-fp32": EngineKind("onnx-fp32", cuda=False, atol=1e-4, load=onnx_cpu),
    "torchscript-cpu-fp32": EngineKind("torchscript-fp32", cuda=False, atol=1e-4, load=torchscript_cpu),
}
AUTO = "auto"
