"""What a CUDA driver or its runtime says is told, and where it fails nothing is lost that works without it."""

import ctypes
import mmap
from typing import Any

import onnxruntime
import pytest
from engines import BUNDLE, CUDA, choice

from cifar_models.errors import InputError
from serving.engines import device
from serving.engines.bundles import load_bundle
from serving.engines.choice import check_engine
from serving.engines.device import has_cuda, pinned


class Library:
    """A library of CUDA, in the place of the installed one: the functions of `answers`, and what was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, **answers: Any) -> None:
        self.called: list[str] = []
        self._answers = answers
        load = ctypes.CDLL
        monkeypatch.setattr(
            ctypes, "CDLL", lambda path, *rest, **options: self if path == name else load(path, *rest, **options)
        )

    def __getattr__(self, function: str) -> Any:
        def call(*arguments: Any) -> int:
            self.called.append(function)
            answer = self._answers[function]
            return int(answer(*arguments) if callable(answer) else answer)

        return call


def writing(value: Any) -> Any:
    """A function that writes it where its last argument points to."""

    def write(*arguments: Any) -> int:
        arguments[-1]._obj.value = value
        return 0

    return write


def driver(monkeypatch: pytest.MonkeyPatch, *, code: int = 0, devices: int = 0, name: bytes | None = None) -> None:
    """From here on there is a driver, which starts with this code."""
    functions = {"cuInit": code, "cuDeviceGetCount": writing(devices), "cuGetErrorName": writing(name)}
    Library(monkeypatch, "libcuda.so.1", **functions)


@pytest.mark.parametrize(("code", "devices", "found"), [(100, 0, False), (34, 0, False), (0, 0, False), (0, 1, True)])
def test_a_driver_without_a_device_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, code: int, devices: int, found: bool
) -> None:
    driver(monkeypatch, code=code, devices=devices)
    assert has_cuda() is found


def test_a_driver_that_does_not_work_is_said_while_the_processor_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, code=999, name=b"CUDA_ERROR_UNKNOWN")
    loaded = load_bundle(BUNDLE, choice("auto"))
    assert loaded.engine_name == "onnxruntime-cpu-int8"
    assert loaded.degraded == " ".join(f"{name}: The CUDA driver fails: CUDA_ERROR_UNKNOWN (999)." for name in CUDA)


def test_a_driver_that_does_not_work_is_no_reason_where_no_engine_for_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver(monkeypatch, code=999, name=b"CUDA_ERROR_UNKNOWN")
    monkeypatch.setattr("serving.engines.choice.is_installed", lambda _: False)
    assert load_bundle(BUNDLE, choice("auto")).degraded is None


@pytest.mark.parametrize(
    ("name", "said"), [(b"CUDA_ERROR_NOT_PERMITTED", r"CUDA_ERROR_NOT_PERMITTED \(800\)"), (None, "code 800")]
)
def test_a_driver_that_does_not_work_stops_who_asked_for_cuda_with_what_it_says(
    monkeypatch: pytest.MonkeyPatch, name: bytes | None, said: str
) -> None:
    driver(monkeypatch, code=800, name=name)
    with pytest.raises(InputError, match=rf"needs a CUDA device\. The CUDA driver fails: {said}\. CIFAR_ALLOW"):
        check_engine(choice(CUDA[0]))
    check_engine(choice(CUDA[0], allow_fallback=True))


@pytest.mark.parametrize(("failed", "told", "kept"), [(0, [], 2), (712, ["cudaHostRegister: 712"] * 2, 0)])
def test_memory_for_batches_shares_no_page_and_is_locked_where_cuda_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failed: int, told: list[str], kept: int
) -> None:
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "cuda_version", "12.8", raising=False)
    locked: list[Any] = []
    monkeypatch.setattr(device, "_locked", locked)
    runtime = Library(monkeypatch, "libcudart.so.12", cudaHostRegister=failed, cudaGetLastError=failed)
    arrays = [pinned((3, 32, 32, 3), "cuda") for _ in range(2)]
    for array in arrays:
        assert array.ctypes.data % mmap.PAGESIZE == 0
        array[:] = 1
    assert [message.partition("slower: ")[2] for message in caplog.messages] == told
    assert len(locked) == kept
    # What failed is not left for the next one who asks.
    assert runtime.called == ["cudaHostRegister", *(["cudaGetLastError"] if failed else [])] * 2
