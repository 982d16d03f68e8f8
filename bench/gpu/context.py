"""What every step is told."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from bench.serving.machine import installed

T = TypeVar("T")

PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu")  # whose versions every step's figures depend on


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where to compute, on which data, and until when."""

    device: str  # cuda or cpu
    miniature: bool  # as little of everything as shows that the steps run
    data: Path
    data_name: str | None  # as figures shall name the data; none: as training.fit names them
    work: Path  # folder of runs and logs
    again: bool = False  # what is done already, too
    deadline: float = float("inf")  # time.monotonic() at which the step shall have ended

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"

    def pick(self, sizes: tuple[T, T]) -> T:
        """Of what is so at full size, and so in miniature."""
        return sizes[self.miniature]

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name() if self.cuda else "CPU"

    @property
    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()

    def common_inputs(self) -> dict[str, Any]:
        """What every step's figures depend on."""
        return {"device": self.device_name, **{name: version for name in PACKAGES if (version := installed(name))}}
