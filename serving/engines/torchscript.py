"""TorchScript on a torch device. The only engine that loads torch."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cifar_models.bundle import Probabilities
from cifar_models.cifar10 import IMAGE_SHAPE
from cifar_models.picture import Pixels
from serving.engines.staging import Slots, buckets, cut, gather, gather_into
from serving.engines.ways import Way

_SEVERAL = 16  # images; on the CPU no such batch is rehearsed


@dataclass(frozen=True, slots=True)
class Lane:
    """What one batch at a time uses: a host buffer, page-locked for CUDA, and a CUDA stream."""

    host: Any  # Tensor
    staging: Pixels  # the same memory
    stream: Any  # Stream, or None on the CPU


class TorchScript:
    """TorchScript on the CPU, or on CUDA with two lanes: one gathers and copies while the other computes.

    Batches are computed in the size that they have, and not padded.
    """

    processors = 1

    def __init__(self, path: Path, max_batch: int, *, device: str, threads: int) -> None:
        import torch

        self._torch: Any = torch
        self._device = torch.device(device)
        self._max_batch = max_batch
        self._cuda = device == "cuda"
        self.lanes = 2 if self._cuda else 1
        if not self._cuda:
            torch.set_num_threads(threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated does not concern the operator
            self._module: Any = torch.jit.load(path, map_location=self._device)  # type: ignore[no-untyped-call]
        self._lanes = Slots([self._lane() for _ in range(self.lanes)])
        self._warm_up()

    def _lane(self) -> Lane:
        host = self._torch.empty((self._max_batch, *IMAGE_SHAPE), dtype=self._torch.uint8, pin_memory=self._cuda)
        return Lane(host, host.numpy(), self._torch.cuda.Stream() if self._cuda else None)

    def _warm_up(self) -> None:
        """Let torch choose kernels for some sizes, and the executor specialise, before the first request.

        A batch of any other size meets kernels that are chosen when it first comes.
        """
        for size in [size for size in self._warm_sizes() for _ in range(3)]:
            self(np.zeros((size, *IMAGE_SHAPE), np.uint8))

    def __call__(self, *parts: Pixels) -> Probabilities:
        if sum(map(len, parts)) > self._max_batch:
            return np.concatenate([self(part) for part in cut(gather(parts), self._max_batch)])
        with self._lanes.lend() as lane, self._torch.inference_mode(), self._on(lane.stream):
            count = gather_into(lane.staging, parts)
            images = lane.host[:count].to(self._device, non_blocking=True)
            _, probabilities = self._module(images)
            # A copy to ordinary memory waits for the stream, and no other.
            return np.asarray(probabilities.to("cpu").numpy())

    def _warm_sizes(self) -> list[int]:
        return buckets(self._max_batch) if self._cuda else [1]

    def ways(self) -> Iterator[Way]:
        for size in sorted({*self._warm_sizes(), min(_SEVERAL, self._max_batch)}):
            yield Way(size, self)

    def _on(self, stream: Any) -> AbstractContextManager[Any]:
        # Without one, torch would ask for a device all the same.
        return self._torch.cuda.stream(stream) if stream else nullcontext()


def give_back_memory() -> None:
    """Have torch give back what it keeps on the CUDA device for engines that are gone; it has to have been there."""
    torch: Any = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        with suppress(RuntimeError):  # of a device that has failed, which an engine has said
            torch.cuda.empty_cache()
