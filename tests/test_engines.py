"""Every engine that can run here computes what was exported, whatever the parts and their number."""

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from bodies import ATOL, DEFAULT, pictures
from conftest import MODELS

from cifar_models.bundle import BundleError, Probabilities, open_bundle
from cifar_models.errors import InputError
from serving.engines import bundles
from serving.engines.bundles import EngineChoice, LoadedBundle, check_engine, load_bundle
from serving.engines.device import has_cuda
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


@pytest.mark.parametrize(("advantage", "taken"), [(0.5, 0), (1.9, 0), (2.1, 1)])
def test_the_first_cuda_engine_is_taken_unless_another_is_twice_as_fast(
    monkeypatch: pytest.MonkeyPatch, advantage: float, taken: int
) -> None:
    engines = dict(zip(CUDA, [Disguised(1), Disguised(1)], strict=True))
    seconds = {engines[CUDA[0]]: advantage, engines[CUDA[1]]: 1.0}
    monkeypatch.setattr(bundles, "time_batch", lambda engine, size: seconds[engine])
    loaded = load_with(monkeypatch, engines)
    assert (loaded.engine_name, loaded.degraded) == (CUDA[taken], None)


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
