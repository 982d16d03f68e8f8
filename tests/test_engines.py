"""Every engine that can run here computes what was exported, whatever the parts and their number."""

import ctypes
import mmap
import weakref
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from bodies import ATOL, DEFAULT, pictures
from conftest import MODELS

from cifar_models.bundle import BundleError, Probabilities, open_bundle
from cifar_models.errors import InputError
from serving.engines import bundles, device
from serving.engines.bundles import EngineChoice, LoadedBundle, check_engine, load_bundle
from serving.engines.device import has_cuda, pinned
from serving.engines.onnx import OnnxBuckets, OnnxCpu
from serving.engines.registry import ENGINES, Engine
from serving.engines.staging import bucket, buckets
from serving.engines.torchscript import TorchScript

MAX_BATCH = 12
BUNDLE = MODELS / DEFAULT
ONNX, TORCH = BUNDLE / "model.onnx", BUNDLE / "model.torchscript.pt"


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


def choice(name: str, *, allow_fallback: bool = False) -> EngineChoice:
    return EngineChoice(name, threads=1, max_batch=MAX_BATCH, allow_fallback=allow_fallback)


CUDA = [name for name, kind in ENGINES.items() if kind.cuda]
without_cuda = pytest.mark.skipif(has_cuda(), reason="says what happens where there is no CUDA device")


def test_an_engine_that_is_not_installed_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for may_fall_back in (False, True):
        with pytest.raises(InputError, match="needs torch, which is not installed here"):
            check_engine(choice("torchscript-cpu-fp32", allow_fallback=may_fall_back))


@without_cuda
@pytest.mark.parametrize("name", CUDA)
def test_a_cuda_engine_is_refused_in_one_line_where_there_is_no_cuda(name: str) -> None:
    with pytest.raises(InputError, match=f"CIFAR_ENGINE='{name}' needs a CUDA device") as refused:
        check_engine(choice(name))
    assert len(str(refused.value).splitlines()) == 1
    check_engine(choice(name, allow_fallback=True))


@without_cuda
@pytest.mark.parametrize("name", CUDA)
def test_where_the_operator_allows_it_the_cpu_answers_and_says_so(name: str) -> None:
    loaded = load_bundle(BUNDLE, choice(name, allow_fallback=True))
    assert loaded.engine_name == "onnxruntime-cpu-int8"
    assert loaded.degraded is not None
    assert loaded.degraded.startswith(f"{name}: ")


@without_cuda
def test_the_cpu_is_not_degraded_where_nobody_asked_for_cuda() -> None:
    assert load_bundle(BUNDLE, choice("auto")).degraded is None


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
    monkeypatch.setattr(bundles, "is_installed", lambda _: False)
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


@without_cuda
def test_why_onnx_runtime_does_not_open_on_cuda_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    open_as(monkeypatch, "no graphs", "libcudnn.so.9 is missing")
    with pytest.raises(RuntimeError, match=r"libcudnn\.so\.9 is missing"):
        OnnxBuckets(ONNX, MAX_BATCH, device="cuda")
    assert not [message for message in caplog.messages if "without CUDA graphs" in message]


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


class Disguised:
    """An engine of the processor under the name of one for CUDA, slowed down by so many runs."""

    def __init__(self, runs: int, *, wrong: bool = False) -> None:
        self.lanes, self.processors, self._runs, self._wrong = 2, 1, runs, wrong
        self._engine = OnnxCpu(ONNX, 1)

    def __call__(self, *parts: np.ndarray) -> Probabilities:
        for _ in range(self._runs):
            probabilities = self._engine(*parts)
        return probabilities[:, ::-1] if self._wrong else probabilities


def load_with(monkeypatch: pytest.MonkeyPatch, engines: Mapping[str, Disguised | None]) -> LoadedBundle:
    """Load on a machine that has CUDA, with these engines on it; None: one that raises."""

    def start(name: str) -> Engine:
        engine = engines[name]
        if engine is None:
            raise RuntimeError("libcurand.so.10 is missing")
        return engine

    kinds = {
        name: type(kind)(
            kind.artifact, kind.cuda, kind.atol, (lambda *_, name=name: start(name)) if kind.cuda else kind.load
        )
        for name, kind in ENGINES.items()
    }
    monkeypatch.setattr(bundles, "ENGINES", kinds)
    monkeypatch.setattr(bundles, "has_cuda", lambda: True)
    return load_bundle(BUNDLE, choice("auto"))


def made_on_cuda(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Disguised]) -> None:
    """From here on the machine has CUDA, and what is made so are its engines."""
    kinds = {name: replace(ENGINES[name], load=lambda *_: make()) for name in CUDA}
    monkeypatch.setattr(bundles, "ENGINES", {**ENGINES, **kinds})
    monkeypatch.setattr(bundles, "has_cuda", lambda: True)


@pytest.mark.parametrize(("advantage", "taken"), [(0.5, 0), (1.9, 0), (2.1, 1)])
def test_the_first_cuda_engine_is_taken_unless_another_is_twice_as_fast(
    monkeypatch: pytest.MonkeyPatch, advantage: float, taken: int
) -> None:
    engines = dict(zip(CUDA, [Disguised(1), Disguised(1)], strict=True))
    seconds = {engines[CUDA[0]]: advantage, engines[CUDA[1]]: 1.0}
    monkeypatch.setattr(bundles, "time_batch", lambda engine, size: seconds[engine])
    loaded = load_with(monkeypatch, engines)
    assert (loaded.engine_name, loaded.degraded) == (CUDA[taken], None)


@pytest.mark.parametrize("wrong", [False, True])
def test_memory_on_the_device_is_given_back_once_the_engines_that_were_not_taken_are_gone(
    monkeypatch: pytest.MonkeyPatch, wrong: bool
) -> None:
    made: list[weakref.ref[Disguised]] = []
    gone: list[list[bool]] = []

    def make() -> Disguised:
        engine = Disguised(1, wrong=wrong)
        made.append(weakref.ref(engine))
        return engine

    made_on_cuda(monkeypatch, make)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: gone.append([engine() is None for engine in made]))
    loaded = load_bundle(BUNDLE, choice("auto"))
    assert gone == [[name != loaded.engine_name for name in CUDA]]


@pytest.mark.parametrize("initialized", [True, False])
def test_a_device_that_fails_to_give_memory_back_or_was_never_asked_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, initialized: bool
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered") if initialized else AssertionError

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialized)
    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    assert load_bundle(BUNDLE, choice("onnxruntime-cpu-int8")).degraded is None


class Rounding(Disguised):
    """Off by 0.02 in the first probability of each image."""

    def __call__(self, *parts: np.ndarray) -> Probabilities:
        probabilities = super().__call__(*parts)
        probabilities[:, 0] += 0.02
        return probabilities


@pytest.mark.parametrize(("temperature", "name"), [(1.0, "onnxruntime-cpu-int8"), (0.25, CUDA[0])])
def test_a_steep_calibration_allows_as_much_more_on_cuda_as_the_gate_does(
    monkeypatch: pytest.MonkeyPatch, temperature: float, name: str
) -> None:
    calibrate(monkeypatch, temperature)
    made_on_cuda(monkeypatch, lambda: Rounding(1))
    assert load_bundle(BUNDLE, choice("auto")).engine_name == name


def test_and_no_more_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(monkeypatch, 0.25)
    name = "onnxruntime-cpu-fp32"
    monkeypatch.setattr(bundles, "ENGINES", {name: replace(ENGINES[name], load=lambda *_: Rounding(1))})
    with pytest.raises(BundleError, match="golden images"):
        load_bundle(BUNDLE, choice(name))


def calibrate(monkeypatch: pytest.MonkeyPatch, temperature: float) -> None:
    """From here on the manifest states this calibration; its steepness is one over the temperature."""
    whole = open_bundle(BUNDLE)
    manifest = whole.manifest.model_copy(update={"temperature": temperature, "sharpening": 0.0})
    monkeypatch.setattr(bundles, "open_bundle", lambda _: replace(whole, manifest=manifest))


def test_a_cuda_engine_that_is_faster_by_far_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_with(monkeypatch, dict(zip(CUDA, [Disguised(16), Disguised(1)], strict=True)))
    assert (loaded.engine_name, loaded.degraded) == (CUDA[1], None)


def test_a_fast_cuda_engine_that_computes_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_with(monkeypatch, dict(zip(CUDA, [Disguised(2), Disguised(1, wrong=True)], strict=True)))
    assert (loaded.engine_name, loaded.degraded) == (CUDA[0], None)


def test_a_machine_with_cuda_where_no_cuda_engine_works_is_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_with(monkeypatch, dict(zip(CUDA, [None, Disguised(1, wrong=True)], strict=True)))
    assert loaded.engine_name == "onnxruntime-cpu-int8"
    assert loaded.degraded is not None
    assert "libcurand.so.10" in loaded.degraded
    assert "golden images" in loaded.degraded


def test_a_machine_with_cuda_where_the_first_cuda_engine_does_not_work_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_with(monkeypatch, dict(zip(CUDA, [None, Disguised(1)], strict=True)))
    assert (loaded.engine_name, loaded.degraded) == (CUDA[1], f"{CUDA[0]}: libcurand.so.10 is missing")


@without_cuda
def test_where_the_int8_file_computes_something_else_the_float_file_answers_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "onnxruntime-cpu-int8"
    wrong = replace(ENGINES[name], load=lambda *_: Disguised(1, wrong=True))
    monkeypatch.setattr(bundles, "ENGINES", {**ENGINES, name: wrong})
    loaded = load_bundle(BUNDLE, choice("auto"))
    assert loaded.engine_name == "onnxruntime-cpu-fp32"
    assert loaded.degraded is not None
    assert loaded.degraded.startswith(f"{name}: ")
    assert "golden images" in loaded.degraded


def leave_out(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """From here on the bundle has no such file."""
    whole = open_bundle(BUNDLE)
    others = [artifact for artifact in whole.manifest.artifacts if artifact.key != key]
    smaller = replace(whole, manifest=whole.manifest.model_copy(update={"artifacts": others}))
    monkeypatch.setattr(bundles, "open_bundle", lambda _: smaller)


@without_cuda
def test_a_bundle_that_has_no_int8_file_is_not_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, "onnx-int8")
    loaded = load_bundle(BUNDLE, choice("auto"))
    assert (loaded.engine_name, loaded.degraded) == ("onnxruntime-cpu-fp32", None)


def test_nor_is_one_that_has_no_onnx_file_and_answers_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, "onnx-fp32")
    loaded = load_with(monkeypatch, dict(zip(CUDA, [Disguised(1), Disguised(1)], strict=True)))
    assert (loaded.engine_name, loaded.degraded) == (CUDA[1], None)


def test_a_self_test_compares_with_the_golden_probabilities() -> None:
    loaded = load_bundle(BUNDLE, choice("onnxruntime-cpu-fp32"))
    right = loaded.engine(loaded.golden_images())
    loaded.check_golden(right)
    with pytest.raises(BundleError, match="golden images"):
        loaded.check_golden(right[:, ::-1])
