"""What the tests of engines share: the files of the default bundle, and what this machine has."""

import pytest
from bodies import DEFAULT
from conftest import MODELS

from serving.engines.choice import EngineChoice
from serving.engines.device import has_cuda
from serving.engines.registry import ENGINES

MAX_BATCH = 12
BUNDLE = MODELS / DEFAULT
ONNX, TORCH = BUNDLE / "model.onnx", BUNDLE / "model.torchscript.pt"
CUDA = [name for name, kind in ENGINES.items() if kind.cuda]
without_cuda = pytest.mark.skipif(has_cuda(), reason="says what happens where there is no CUDA device")


def choice(name: str, *, allow_fallback: bool = False) -> EngineChoice:
    return EngineChoice(name, threads=1, max_batch=MAX_BATCH, allow_fallback=allow_fallback)
