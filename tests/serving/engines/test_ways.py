"""No bundle is served by an engine of which any part computes something else: a session, a graph, a row of a batch."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import BUNDLE, CUDA, MAX_BATCH, ONNX, TORCH

from cifar_models.bundle import BundleError, Probabilities
from cifar_models.picture import Pixels
from serving.engines import bundles, onnx
from serving.engines.bundles import load_bundle
from serving.engines.choice import EngineChoice
from serving.engines.onnx import OnnxBuckets, open_on_cpu
from serving.engines.registry import ENGINES, Engine
from serving.engines.staging import buckets
from serving.engines.torchscript import TorchScript
from serving.engines.ways import Way, classify_by_all


class Session:
    """One of ONNX Runtime that answers the same for every image."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, *arguments: Any) -> list[Probabilities]:
        return [np.full_like(probabilities, 0.1) for probabilities in self._session.run(*arguments)]


@pytest.mark.parametrize("wrong", [1, 3])
def test_an_engine_with_a_wrong_session_is_not_served(monkeypatch: pytest.MonkeyPatch, wrong: int) -> None:
    def open_session(path: Path, threads: int) -> Any:
        session = open_on_cpu(path, threads)
        return Session(session) if threads == wrong else session

    choice = EngineChoice("onnxruntime-cpu-int8", threads=3, max_batch=MAX_BATCH)
    load_bundle(BUNDLE, choice)
    monkeypatch.setattr(onnx, "open_on_cpu", open_session)
    with pytest.raises(BundleError, match="golden images"):
        load_bundle(BUNDLE, choice)


class WrongBucket(OnnxBuckets):
    """Of batches of one size a row is wrong; on the processor's memory, with which no device is needed."""

    def __init__(self, max_batch: int, size: int, row: int) -> None:
        self._size, self._row = size, row
        super().__init__(ONNX, max_batch, device="cpu")

    def _run(self, images: Pixels, count: int) -> Probabilities:
        probabilities = super()._run(images, count)
        if count == self._size:
            probabilities[self._row] = 0.1
        return probabilities


def on_cuda(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Engine], max_batch: int) -> str | None:
    """What the server says of the device's engine, on a machine that seems to have one."""
    monkeypatch.setattr(bundles, "ENGINES", {**ENGINES, CUDA[0]: replace(ENGINES[CUDA[0]], load=lambda *_: make())})
    monkeypatch.setattr("serving.engines.choice.has_cuda", lambda: True)
    return load_bundle(BUNDLE, EngineChoice(CUDA[0], 1, max_batch, allow_fallback=True)).degraded


@pytest.mark.parametrize(
    ("max_batch", "size", "row"), [*((MAX_BATCH, size, size - 1) for size in buckets(MAX_BATCH)), (64, 64, 40)]
)
def test_an_engine_with_a_wrong_graph_is_not_served(
    monkeypatch: pytest.MonkeyPatch, max_batch: int, size: int, row: int
) -> None:
    degraded = on_cuda(monkeypatch, lambda: WrongBucket(max_batch, size, row), max_batch)
    assert degraded is not None
    assert "golden images" in degraded


def test_one_whose_graphs_are_all_right_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_cuda(monkeypatch, lambda: OnnxBuckets(ONNX, MAX_BATCH, device="cpu"), MAX_BATCH) is None


@pytest.mark.parametrize("cuda", [False, True])
def test_torchscript_is_tried_in_every_size_that_it_rehearses(monkeypatch: pytest.MonkeyPatch, cuda: bool) -> None:
    monkeypatch.setattr(TorchScript, "_warm_up", lambda _: None)
    engine = TorchScript(TORCH, 64, device="cpu", threads=1)
    engine._cuda = cuda
    assert [way.size for way in engine.ways()] == ([1, 2, 4, 8, 16, 32, 64] if cuda else [1, 16])


@pytest.mark.parametrize("sizes", [[1], [16, 1, 1], [1, 2, 4, 8, 12], [5], [64], [1, 2, 4, 8, 16, 32, 64], [300]])
def test_every_way_gets_whole_batches_and_all_images_come_in_order(sizes: list[int]) -> None:
    images = np.arange(32, dtype=np.uint8)
    batches: dict[int, list[int]] = {index: [] for index in range(len(sizes))}

    def way(index: int) -> Way:
        def classify(batch: Any) -> Any:
            batches[index].append(len(batch))
            return batch.astype(np.float32)

        return Way(sizes[index], classify)

    for answers in classify_by_all(map(way, batches), images):
        assert answers.tolist() == images.tolist()
    for index, size in enumerate(sizes):
        assert max(batches[index]) == size
        assert batches[index].count(size) * size >= 4
