"""Which engine answers: the best that works and computes what the bundle states, and why no better one does."""

import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from engines import BUNDLE, CUDA, ONNX, choice, without_cuda

from cifar_models.bundle import BundleError, Probabilities, open_bundle
from cifar_models.errors import InputError
from serving.engines import bundles
from serving.engines.bundles import LoadedBundle, load_bundle
from serving.engines.choice import check_engine
from serving.engines.golden import check_golden, golden_images
from serving.engines.onnx import OnnxCpu
from serving.engines.registry import ENGINES, Engine
from serving.engines.ways import Way


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


class Disguised:
    """An engine of the processor under the name of one for CUDA, slowed down by so many runs."""

    def __init__(self, runs: int, *, wrong: bool = False) -> None:
        self.lanes, self.processors, self._runs, self._wrong = 2, 1, runs, wrong
        self._engine = OnnxCpu(ONNX, 1)

    def __call__(self, *parts: np.ndarray) -> Probabilities:
        for _ in range(self._runs):
            probabilities = self._engine(*parts)
        return probabilities[:, ::-1] if self._wrong else probabilities

    def ways(self) -> list[Way]:
        return [Way(16, self)]


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
    monkeypatch.setattr("serving.engines.choice.has_cuda", lambda: True)
    return load_bundle(BUNDLE, choice("auto"))


def made_on_cuda(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Disguised]) -> None:
    """From here on the machine has CUDA, and what is made so are its engines."""
    kinds = {name: replace(ENGINES[name], load=lambda *_: make()) for name in CUDA}
    monkeypatch.setattr(bundles, "ENGINES", {**ENGINES, **kinds})
    monkeypatch.setattr("serving.engines.choice.has_cuda", lambda: True)


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
    right = loaded.engine(golden_images(loaded.bundle))
    check_golden(loaded.bundle, loaded.engine_name, right)
    with pytest.raises(BundleError, match="golden images"):
        check_golden(loaded.bundle, loaded.engine_name, right[:, ::-1])
