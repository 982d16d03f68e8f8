"""ONNX Runtime: straight on the CPU, and with buffers that stay on a CUDA device."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from cifar_models.bundle import Probabilities
from cifar_models.cifar10 import IMAGE_SHAPE
from cifar_models.onnx_session import CPU, CUDA, Provider, open_session
from cifar_models.picture import Pixels
from serving.engines.device import pinned
from serving.engines.staging import Slots, bucket, buckets, cut, gather, gather_into
from serving.engines.ways import Way

logger = logging.getLogger(__name__)

_ALONE = 4  # images in a row that came alone, after which the next one gets all cores
_PIECE = 16  # images that a core computes at once: more are no faster, and each keeps some 400 KB for every core


class OnnxCpu:
    """ONNX Runtime on the CPU: each core computes a batch of its own.

    Cores that share a batch wait for one another after every layer: two of them computed 2,000 images a second together
    and 2,300 apart, in batches of 8. Only while images come one at a time they get all: they are answered sooner.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self.lanes = self.processors = threads
        self._apart = open_on_cpu(path, 1)
        self._together = open_on_cpu(path, threads) if threads > 1 else self._apart
        self._lock = Lock()
        self._inside = 0  # batches
        self._alone = 0  # images in a row, each of them a batch with no other beside it

    def __call__(self, *parts: Pixels) -> Probabilities:
        images = gather(parts)
        with self._lock:
            self._inside += 1
            self._alone = self._alone + 1 if self._inside == len(images) == 1 else 0
            # Not the first one: at half load many find all cores idle for a moment, and what they take others lack.
            session = self._together if self._alone > _ALONE else self._apart
        try:
            return run(session, images)
        finally:
            with self._lock:
                self._inside -= 1

    def ways(self) -> Iterator[Way]:
        yield Way(_PIECE, partial(run, self._apart))
        yield Way(1, partial(run, self._apart))
        if self._together is not self._apart:
            yield Way(1, partial(run, self._together))


def run(session: Any, images: Pixels) -> Probabilities:
    pieces = [session.run(["probabilities"], {"images": piece})[0] for piece in cut(images, _PIECE)]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def open_on_cpu(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Waiting threads would spin on the cores that decode the next requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=[CPU])


@dataclass(frozen=True, slots=True)
class Bound:
    """Buffers on the device for batches of one size, and what runs the network from the one to the other."""

    images: Any  # OrtValue
    probabilities: Any  # OrtValue
    binding: Any  # IOBinding
    options: Any  # RunOptions


class OnnxBuckets:
    """ONNX Runtime on the first CUDA device, in batches of a few sizes that are warm when the first request comes.

    Two lanes gather, each into a page-locked array of its own. One thread drives the device, because ONNX Runtime keeps
    a captured CUDA graph for the thread that captured it: what a lane gathered is copied when the other lane's batch is
    done. `device="cpu"` is for tests: the same with the CPU's memory.
    """

    lanes = 2
    processors = 1

    def __init__(self, path: Path, max_batch: int, *, device: str) -> None:
        self._path, self._max_batch, self._device = path, max_batch, device
        self._staging = Slots([pinned((max_batch, *IMAGE_SHAPE), device) for _ in range(self.lanes)])
        self._driver = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._bound: dict[int, Bound] = {}
        self._driver.submit(self._warm_up).result()

    def __call__(self, *parts: Pixels) -> Probabilities:
        if sum(map(len, parts)) > self._max_batch:
            return np.concatenate([self(part) for part in cut(gather(parts), self._max_batch)])
        with self._staging.lend() as images:
            count = gather_into(images, parts)
            return self._driver.submit(self._run, images, count).result()

    def ways(self) -> Iterator[Way]:
        for size in self._bound:
            yield Way(size, self)

    def _run(self, images: Pixels, count: int) -> Probabilities:
        """Of the first `count` images; what stands behind them pads the batch, and its rows are dropped."""
        size = bucket(count, self._max_batch)
        bound = self._bound[size]
        bound.images.update_inplace(images[:size])
        self._session.run_with_iobinding(bound.binding, bound.options)
        bound.binding.synchronize_outputs()
        return np.array(bound.probabilities.numpy()[:count])

    def _warm_up(self) -> None:
        """Capture every size as a CUDA graph; no graphs where the network holds what cannot be captured."""
        try:
            self._bind_all(graphs=self._device == "cuda")
        except Exception as error:
            if self._device != "cuda":
                raise
            self._bind_all(graphs=False)
            logger.warning("%s runs without CUDA graphs: %s", self._path, error)

    def _bind_all(self, *, graphs: bool) -> None:
        self._session = self._open(graphs=graphs)
        blank = np.zeros((self._max_batch, *IMAGE_SHAPE), np.uint8)
        self._bound = {size: self._bind(size) for size in buckets(self._max_batch)}
        for size in self._bound:
            for _ in range(2):  # the first one captures, the second one replays
                self._run(blank, size)

    def _open(self, *, graphs: bool) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        provider: Provider = CPU
        if self._device == "cuda":
            # An exhaustive search would tune every size for seconds.
            tuning = {"cudnn_conv_algo_search": "HEURISTIC", "enable_cuda_graph": str(int(graphs))}
            provider = (CUDA, tuning)
        return open_session(self._path, options, provider)

    def _bind(self, size: int) -> Bound:
        import onnxruntime

        (output,) = (output for output in self._session.get_outputs() if output.name == "probabilities")
        new = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        images = new([size, *IMAGE_SHAPE], np.uint8, self._device, 0)
        probabilities = new([size, output.shape[1]], np.float32, self._device, 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("images", images)
        binding.bind_ortvalue_output("probabilities", probabilities)
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(size))  # one graph for each size
        return Bound(images, probabilities, binding, options)
