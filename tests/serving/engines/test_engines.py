"""Every engine that can run here computes what was exported, whatever the parts and their number."""

import zipfile
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from bodies import ATOL, pictures
from engines import MAX_BATCH, ONNX, TORCH, without_cuda

from cifar_models.bundle import Probabilities
from cifar_models.onnx_session import missing_library
from serving.engines.onnx import OnnxBuckets, OnnxCpu
from serving.engines.registry import Engine
from serving.engines.staging import bucket, buckets
from serving.engines.torchscript import TorchScript


def make(name: str) -> Engine:
    if name == "buckets":
        return OnnxBuckets(ONNX, MAX_BATCH, device="cpu")
    if name == "torch":
        return TorchScript(TORCH, MAX_BATCH, device="cpu", threads=1)
    return OnnxCpu(ONNX, 3 if name == "cores" else 1)


@pytest.fixture(scope="module", params=["core", "cores", "buckets", "torch"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return make(request.param)


@pytest.fixture(scope="module")
def expected() -> Probabilities:
    return OnnxCpu(ONNX, 1)(pictures(40))


@pytest.mark.parametrize("sizes", [[1], [2, 1], [5], [1, 8, 3], [12], [7, 6], [40], [1] * 11])
def test_parts_are_computed_together_and_in_order(engine: Engine, expected: Probabilities, sizes: list[int]) -> None:
    parts = np.split(pictures(40), np.cumsum(sizes))[:-1]
    np.testing.assert_allclose(engine(*parts), expected[: sum(sizes)], atol=10 * ATOL)


def test_an_answer_is_not_changed_by_the_next(engine: Engine, expected: Probabilities) -> None:
    first = engine(pictures(40)[:3])
    engine(pictures(40)[20:23])
    np.testing.assert_allclose(first, expected[:3], atol=10 * ATOL)


def test_lanes_do_not_mix_their_batches(engine: Engine, expected: Probabilities) -> None:
    answers: dict[int, Probabilities] = {}

    def ask(start: int) -> None:
        for size in range(1, 9):
            answers[start] = engine(pictures(40)[start : start + size])
            np.testing.assert_allclose(answers[start], expected[start : start + size], atol=10 * ATOL)

    threads = [Thread(target=ask, args=[10 * lane]) for lane in range(engine.lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(answer) == 8 for answer in answers.values())
    assert len(answers) == engine.lanes


def test_batches_are_padded_to_powers_of_two_and_the_largest() -> None:
    assert [bucket(count, 12) for count in (1, 2, 3, 4, 5, 8, 9, 12)] == [1, 2, 4, 4, 8, 8, 12, 12]
    assert buckets(12) == [1, 2, 4, 8, 12]
    assert buckets(1) == [1]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_torchscript_archive_may_be_compressed(tmp_path: Path, expected: Probabilities, compression: int) -> None:
    copy = tmp_path / "copy.pt"
    with zipfile.ZipFile(TORCH) as archive, zipfile.ZipFile(copy, "w", compression) as rewritten:
        for name in archive.namelist():
            rewritten.writestr(zipfile.ZipInfo(name), archive.read(name), compression)
    engine = TorchScript(copy, MAX_BATCH, device="cpu", threads=1)
    np.testing.assert_allclose(engine(pictures(40)[:5]), expected[:5], atol=10 * ATOL)


def test_torchscript_on_the_processor_asks_for_no_stream_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(stream: object) -> None:
        raise AssertionError("there is no device")

    monkeypatch.setattr(torch.cuda, "stream", refuse)
    assert len(make("torch")(pictures(3))) == 3


def open_as(monkeypatch: pytest.MonkeyPatch, *reasons: str | None) -> None:
    """From here on ONNX Runtime opens its sessions, on the processor, or fails for these reasons on CUDA."""
    session = onnxruntime.InferenceSession
    left = list(reasons)

    def create(self: Any, providers: Any, *_: Any) -> None:
        reason = left.pop(0) if left and providers[0] != "CPUExecutionProvider" else "Conflicting configuration"
        if reason:
            raise RuntimeError(reason)

    monkeypatch.setattr(session, "_create_inference_session", create)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr("cifar_models.onnx_session.missing_library", lambda: None)


@without_cuda
def test_why_onnx_runtime_does_not_open_on_cuda_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    open_as(monkeypatch, "no graphs", "libcudnn.so.9 is missing")
    with pytest.raises(RuntimeError, match=r"libcudnn\.so\.9 is missing"):
        OnnxBuckets(ONNX, MAX_BATCH, device="cuda")
    assert not [message for message in caplog.messages if "without CUDA graphs" in message]


@without_cuda
def test_the_library_that_its_cuda_provider_misses_is_named() -> None:
    onnxruntime.preload_dlls()
    if missing_library() is None:
        pytest.skip("ONNX Runtime's CUDA provider misses nothing here")
    with pytest.raises(RuntimeError, match="cannot open shared object file"):
        OnnxBuckets(ONNX, MAX_BATCH, device="cuda")


@pytest.mark.parametrize("works", [True, False])
def test_that_a_network_runs_without_graphs_is_said_once_it_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, works: bool
) -> None:
    def bind_all(self: OnnxBuckets, *, graphs: bool) -> None:
        if graphs or not works:
            raise RuntimeError(f"graphs: {graphs}")

    monkeypatch.setattr(OnnxBuckets, "_bind_all", bind_all)
    if works:
        OnnxBuckets(ONNX, MAX_BATCH, device="cuda")
    else:
        with pytest.raises(RuntimeError, match="graphs: False"):
            OnnxBuckets(ONNX, MAX_BATCH, device="cuda")
    said = [message for message in caplog.messages if "without CUDA graphs: graphs: True" in message]
    assert len(said) == works
