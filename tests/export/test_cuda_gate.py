"""The gate of a CUDA device, with the CPU in its place: nothing here has run on a device."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import ROOT, tiny_images
from torch import Tensor

from cifar_models.cifar10 import LABELS
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.onnx_session import missing_library
from export.bundle import export_bundle
from export.comparison import EVERY, Comparison
from export.cuda import check_cuda
from export.figures import as_text, parity_table
from export.formats import FORMATS, open_runner
from export.onnx_file import export_onnx, open_onnx
from export.parity import Evidence, Opener, ParityError
from export.runner import Outputs, Runner, Target
from export.source import load_source
from export.tolerance import CUDA_TOLERANCES
from export.torch_runner import torch_runner
from export.torchscript_file import export_torchscript, quiet_torchscript

KEYS = [key for key, format_ in FORMATS.items() if format_.arithmetics]
SHIPPED = list((ROOT / "models").glob("*/model.torchscript.pt"))
without_a_device = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
InferenceSession = onnxruntime.InferenceSession


@pytest.fixture(scope="module")
def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier("lenet", num_classes=len(LABELS)).eval()


@pytest.fixture(scope="module")
def evidence(model: Classifier) -> Evidence:
    images = np.concatenate([tiny_images(label, 8, seed=3) for label in range(len(LABELS))])
    return Evidence(model, ImageSet(images, np.repeat(np.arange(len(LABELS)), 8), LABELS))


@pytest.fixture(scope="module")
def files(model: Classifier, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    paths = {key: folder / FORMATS[key].file for key in KEYS}
    export_onnx(model, paths["onnx-fp32"], {})
    export_torchscript(model, paths["torchscript-fp32"], {})
    return paths


def on_the_cpu(key: str, path: Path) -> Opener:
    """The file, in the target's arithmetic, but on the CPU."""
    return lambda target: open_runner(key, path, replace(target, device="cpu"))


def test_onnx_and_torchscript_are_compared_on_a_device() -> None:
    assert set(KEYS) == {"onnx-fp32", "torchscript-fp32"}
    assert {arithmetic for key in KEYS for arithmetic in FORMATS[key].arithmetics} == set(CUDA_TOLERANCES)


@pytest.mark.parametrize("key", KEYS)
def test_a_file_passes_the_whole_gate_in_every_arithmetic(key: str, evidence: Evidence, files: dict[str, Path]) -> None:
    proved, unproved = check_cuda(key, on_the_cpu(key, files[key]), evidence)
    assert unproved == []
    assert tuple(parity.arithmetic for parity in proved) == FORMATS[key].arithmetics
    assert all({check.name for check in parity.checks} == EVERY - {Comparison.THREADS} for parity in proved)


def test_halves_are_really_computed_in(evidence: Evidence, files: dict[str, Path]) -> None:
    proved, _ = check_cuda("torchscript-fp32", on_the_cpu("torchscript-fp32", files["torchscript-fp32"]), evidence)
    off = {parity.arithmetic: parity.find("logits").difference for parity in proved}
    assert off["fp32"] < 1e-6 < off["fp16"]


@pytest.mark.parametrize("arithmetic", CUDA_TOLERANCES)
def test_a_file_that_differs_there_is_refused(arithmetic: str, evidence: Evidence, files: dict[str, Path]) -> None:
    def open_(target: Target) -> Runner:
        run = on_the_cpu("torchscript-fp32", files["torchscript-fp32"])(target)
        off = 0.1 if target.arithmetic == arithmetic else 0

        def compute(images: Any) -> Outputs:
            logits, probabilities = run(images)
            return logits + np.float32(off), probabilities

        return Runner(compute, "test")

    with pytest.raises(ParityError, match=r"logits differ by 0\.1"):
        check_cuda("torchscript-fp32", open_, evidence)


@pytest.mark.parametrize("of", ["fresh", *sorted(path.parent.name for path in SHIPPED)])
def test_a_torchscript_file_does_not_say_itself_whether_tf32_is_allowed(files: dict[str, Path], of: str) -> None:
    """On an H200 it computed in TF32 where the process had forbidden it: a trace keeps the flags of its time."""
    path = files["torchscript-fp32"] if of == "fresh" else ROOT / "models" / of / "model.torchscript.pt"
    with quiet_torchscript():
        graph = str(torch.jit.load(path).inlined_graph)  # type: ignore[no-untyped-call]
    assert "aten::conv2d" in graph
    assert "aten::_convolution(" not in graph


@pytest.mark.parametrize(("arithmetic", "allowed"), [("fp32", False), ("tf32", True), ("fp16", False)])
def test_torch_uses_tf32_where_the_target_says_so_and_nowhere_else(arithmetic: Any, allowed: bool) -> None:
    def flags() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    def module(images: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(flags())
        return torch.zeros(len(images), 10), torch.zeros(len(images), 10)

    seen: list[tuple[bool, bool]] = []
    before = flags()
    torch_runner(module, Target(arithmetic=arithmetic))(np.zeros((1, 32, 32, 3), np.uint8))
    assert seen == [(allowed, allowed)]
    assert flags() == before


class StandIn:
    """A session of ONNX Runtime on the CPU, whatever is asked for, that says it computes by `provider`."""

    def __init__(self, provider: str, asked: list[Any]) -> None:
        self.provider, self.asked = provider, asked

    def __call__(
        self, path: Path, options: onnxruntime.SessionOptions, providers: list[Any], enable_fallback: int
    ) -> "StandIn":
        assert not enable_fallback
        (asked,) = providers
        self.asked.append((*asked, options.get_session_config_entry("session.disable_cpu_ep_fallback")))
        self.run = InferenceSession(path, providers=["CPUExecutionProvider"]).run
        return self

    def get_providers(self) -> list[str]:
        return [self.provider]


def test_onnx_runtime_is_asked_for_cuda_without_a_way_back_with_tf32_off_and_on(
    evidence: Evidence, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", StandIn("CUDAExecutionProvider", asked))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    proved, unproved = check_cuda("onnx-fp32", partial(open_runner, "onnx-fp32", files["onnx-fp32"]), evidence)
    assert unproved == []
    assert [(parity.arithmetic, parity.provider) for parity in proved] == [
        ("fp32", "CUDAExecutionProvider"),
        ("tf32", "CUDAExecutionProvider"),
    ]
    assert [ask for index, ask in enumerate(asked) if ask not in asked[:index]] == [
        ("CUDAExecutionProvider", {"use_tf32": 0}, "1"),
        ("CUDAExecutionProvider", {"use_tf32": 1}, "1"),
    ]


def test_a_session_that_fell_back_to_the_cpu_proves_nothing_about_cuda(
    evidence: Evidence, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", StandIn("CPUExecutionProvider", []))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    path = files["onnx-fp32"]
    with pytest.raises(RuntimeError, match=r"model\.onnx by CPUExecutionProvider, not by CUDAExecutionProvider"):
        open_onnx(path, Target(device="cuda"))
    proved, unproved = check_cuda("onnx-fp32", partial(open_runner, "onnx-fp32", path), evidence)
    assert proved == []
    assert [missing.arithmetic for missing in unproved] == ["fp32", "tf32"]
    told = "ONNX Runtime runs model.onnx by CPUExecutionProvider, not by CUDAExecutionProvider."  # and no folder
    assert {missing.reason for missing in unproved} == {told}


@without_a_device
@pytest.mark.parametrize("key", KEYS)
def test_libraries_without_a_device_prove_nothing_and_say_why(
    key: str, evidence: Evidence, files: dict[str, Path]
) -> None:
    proved, unproved = check_cuda(key, partial(open_runner, key, files[key]), evidence)
    assert proved == []
    assert tuple(missing.arithmetic for missing in unproved) == FORMATS[key].arithmetics
    assert all(missing.reason and "\n" not in missing.reason for missing in unproved)
    if key == "onnx-fp32" and missing_library() is not None:
        assert all("cannot open shared object file" in missing.reason for missing in unproved)


@without_a_device
def test_an_export_without_the_libraries_of_its_device_says_what_is_not_proved(
    tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    source = load_source(tiny_run / "best.pt", tiny_data)
    formats = ["torchscript-fp32", "safetensors-fp32"]
    manifest = export_bundle(source, tmp_path / "tiny", cuda=True, formats=formats, report=lines.append)
    torchscript, safetensors = manifest.artifacts
    assert [missing.arithmetic for missing in torchscript.cuda_unproved] == ["fp32", "tf32", "fp16"]
    assert torchscript.cuda_parity == safetensors.cuda_parity == []
    assert safetensors.cuda_unproved == []
    assert sum("model.torchscript.pt is not proved on CUDA in " in line for line in lines) == 3
    head, *_, last = as_text(parity_table(manifest)).splitlines()
    assert "torchscript-fp32, CUDA tf32" in head
    assert last.count("not proved") == 3
