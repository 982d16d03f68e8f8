"""What `python -m export` leaves behind: files that agree, describe themselves, and need none of our code."""

import json
import logging
import subprocess
import sys
import zipfile
from itertools import combinations
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import ROOT, command
from damaged import copy_bundle
from exported import READERS, holding
from torch import nn

from cifar_models.bundle import open_bundle
from cifar_models.checkpoint import load_checkpoint
from cifar_models.cifar10 import LABELS
from cifar_models.manifest import Manifest
from cifar_models.registry import ARCHITECTURES, Architecture
from export.architectures import fresh_classifier
from export.formats import FORMATS, open_runner
from export.golden import golden_images, smooth_images
from export.int8_file import export_int8
from export.onnx_file import OPSET, export_onnx
from export.reference import run_reference, weights_sha256
from export.safetensors_file import load_safetensors

TESTED = {"onnx-fp32", "onnx-int8", "torchscript-fp32"}  # one for each library and precision
FLOATS = [key for key in FORMATS if key.endswith("fp32")]


@pytest.fixture
def manifest(tiny_bundle: Path) -> Manifest:
    return open_bundle(tiny_bundle).manifest


def test_a_bundle_holds_its_manifest_and_the_files_that_it_names(tiny_bundle: Path, manifest: Manifest) -> None:
    names = {file.file for file in manifest.files}
    assert {path.name for path in tiny_bundle.iterdir()} == {"manifest.json", *names}
    assert names == {"README.md", "golden.npz", *(format_.file for format_ in FORMATS.values())}
    assert all((tiny_bundle / file.file).stat().st_size == file.bytes for file in manifest.files)
    assert all(manifest.find(key) for key in FORMATS)


def test_every_artifact_says_how_it_agrees_and_how_good_it_is(manifest: Manifest) -> None:
    for artifact in manifest.artifacts:
        assert artifact.parity.images == 40  # the held-out fifth of 200
        assert all(check.passed for check in artifact.parity.checks)
        assert artifact.parity.find("labels").difference <= (0.015 if artifact.precision == "int8" else 0)
        found = [(evaluation.split, evaluation.images, evaluation.data) for evaluation in artifact.evaluations]
        splits = ("validation", "test") if artifact.key in TESTED else ("validation",)
        assert found == [(split, 40, "tiny") for split in splits]


def test_a_bundle_says_where_it_comes_from(tiny_run: Path, manifest: Manifest) -> None:
    checkpoint = load_checkpoint(tiny_run / "best.pt")
    assert manifest.labels == list(LABELS)
    assert manifest.origin.recipe == checkpoint.recipe
    assert manifest.origin.epoch == checkpoint.epoch
    assert manifest.origin.data_fingerprint == checkpoint.data_fingerprint
    assert manifest.origin.source_revision == checkpoint.source_revision
    assert (manifest.origin.training_images, manifest.origin.validation_images) == (160, 40)


def test_all_formats_agree_on_the_golden_images(tiny_bundle: Path, manifest: Manifest) -> None:
    images = golden_images()
    logits = {}
    with np.load(tiny_bundle / manifest.golden.file) as golden:
        assert np.array_equal(golden["images"], images)
        for artifact in manifest.artifacts:
            logits[artifact.key], probabilities = open_runner(artifact.key, tiny_bundle / artifact.file)(images)
            assert np.abs(probabilities - golden[artifact.key]).max() <= 1e-6
    for one, other in combinations(FLOATS, 2):
        assert np.abs(logits[one] - logits[other]).max() <= 1e-4


def test_exporting_again_replaces_it(tiny_run: Path, tiny_data: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    before = open_bundle(tiny_bundle).manifest
    folder = copy_bundle(tiny_bundle, tmp_path / "tiny")
    (folder / "left over").touch()
    command("export", tiny_run / "best.pt", "--out", folder, "--data", tiny_data)
    after = open_bundle(folder).manifest
    assert (folder / "manifest.json").read_bytes() != (tiny_bundle / "manifest.json").read_bytes()  # the time differs
    assert after.weights_sha256 == before.weights_sha256
    assert [artifact.parity for artifact in after.artifacts] == [artifact.parity for artifact in before.artifacts]
    for artifact in before.artifacts:
        assert (folder / artifact.file).read_bytes() == (tiny_bundle / artifact.file).read_bytes(), artifact.file
    assert (folder / "golden.npz").read_bytes() == (tiny_bundle / "golden.npz").read_bytes()
    assert (folder / "README.md").read_bytes() == (tiny_bundle / "README.md").read_bytes()
    assert not (folder / "left over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def read_graph(bundle: Path, key: str) -> onnx.ModelProto:
    return onnx.load(bundle / FORMATS[key].file, load_external_data=False)


@pytest.mark.parametrize("key", ["onnx-fp32", "onnx-int8"])
def test_an_onnx_file_is_valid_whole_of_the_stated_opset_and_of_any_batch(tiny_bundle: Path, key: str) -> None:
    model = read_graph(tiny_bundle, key)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == OPSET == 20
    assert all(weight.data_location == onnx.TensorProto.DEFAULT for weight in model.graph.initializer)
    for value in (*model.graph.input, *model.graph.output):
        batch, *_ = value.type.tensor_type.shape.dim
        assert batch.dim_param
        assert not batch.dim_value


def test_the_int8_file_quantises_weights_by_channel_and_leaves_both_ends_float(tiny_bundle: Path) -> None:
    graph = read_graph(tiny_bundle, "onnx-int8").graph
    weights = {weight.name: onnx.numpy_helper.to_array(weight) for weight in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    first, *others = (node for node in graph.node if node.op_type in ("Conv", "Gemm"))
    assert len(others) >= 2
    assert weights[first.input[1]].dtype == np.float32  # the first convolution, which sees the pixels
    for node in others:
        pixels, weight = makers[node.input[0]], makers[node.input[1]]
        assert (pixels.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
        values, scale = weights[weight.input[0]], weights[weight.input[1]]
        channels = {attribute.name: attribute.i for attribute in weight.attribute}["axis"]
        assert values.dtype == np.int8
        assert scale.shape == (values.shape[channels],) == (max(scale.shape),)
    (softmax,) = (node for node in graph.node if node.op_type == "Softmax")
    calibration = [node for node in graph.node if node.op_type == "TopK"]
    while calibration[-1] is not softmax:
        calibration.append(next(node for node in graph.node if calibration[-1].output[0] in node.input))
    assert {"QuantizeLinear", "DequantizeLinear"}.isdisjoint(node.op_type for node in calibration)
    assert list(softmax.output) == ["probabilities"]


def test_no_file_holds_a_path_of_this_machine(tiny_bundle: Path) -> None:
    assert holding([str(ROOT), "site-packages", sys.prefix, str(tiny_bundle.parent)], tiny_bundle) == []


@pytest.mark.parametrize("key", ["torchscript-fp32", "torch-export-fp32"])
def test_an_archive_holds_nothing_that_depends_on_the_code_that_asked_for_it(tiny_bundle: Path, key: str) -> None:
    with zipfile.ZipFile(tiny_bundle / FORMATS[key].file) as archive:
        assert [name for name in archive.namelist() if name.endswith((".debug_pkl", "serialization_id"))] == []


def test_every_file_describes_itself_as_the_manifest_does(tiny_bundle: Path, manifest: Manifest) -> None:
    for artifact in manifest.artifacts:
        path = tiny_bundle / artifact.file
        described = READERS[artifact.format](path)
        assert json.loads(described["labels"]) == manifest.labels
        assert described["weights_sha256"] == manifest.weights_sha256
        assert float(described["temperature"]) == manifest.temperature
        assert float(described["sharpening"]) == manifest.sharpening
        assert (described["name"], described["architecture"]) == (manifest.name, manifest.architecture)
        assert json.loads(described["mean"]) == list(manifest.input.mean)


WITH_TORCH_ALONE = """
import sys, numpy, torch, warnings
warnings.simplefilter("ignore")
model = torch.jit.load(sys.argv[1])
logits, probabilities = model(torch.from_numpy(numpy.load(sys.argv[2])["images"]))
numpy.save(sys.argv[3], probabilities.detach().numpy())
"""
WITH_ONNXRUNTIME_ALONE = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
images = numpy.load(sys.argv[2])["images"]
numpy.save(sys.argv[3], session.run(["probabilities"], {"images": images})[0])
assert "torch" not in sys.modules
"""


PROGRAMS = {
    "onnx": WITH_ONNXRUNTIME_ALONE,
    "torchscript": WITH_TORCH_ALONE,
    "torch-export": WITH_TORCH_ALONE.replace("jit.load(sys.argv[1])", "export.load(sys.argv[1]).module()"),
}


def test_every_graph_runs_in_a_process_without_our_code(tiny_bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    for artifact in (artifact for artifact in manifest.artifacts if artifact.format in PROGRAMS):
        program = PROGRAMS[artifact.format]
        ours = "import importlib.util; assert not importlib.util.find_spec('cifar_models')\n"
        golden, found = tiny_bundle / manifest.golden.file, tmp_path / f"{artifact.key}.npy"
        files = [tiny_bundle / artifact.file, golden, found]
        subprocess.run([sys.executable, "-I", "-c", ours + program, *files], cwd=tmp_path, check=True)
        with np.load(golden) as expected:
            assert np.abs(np.load(found) - expected[artifact.key]).max() <= 1e-6


def test_a_network_without_a_convolution_has_an_int8_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def perceptron(num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3072, 64), nn.ReLU(), nn.Linear(64, num_classes))

    monkeypatch.setitem(ARCHITECTURES, "perceptron", Architecture(build=perceptron))
    model, images, path = fresh_classifier("perceptron"), smooth_images(64), tmp_path / "model.int8.onnx"
    export_int8(export_onnx(model, tmp_path / "model.onnx", {}), images, path, {})
    _, probabilities = open_runner("onnx-int8", path)(images)
    assert np.abs(probabilities - run_reference(model, images)[1]).max() < 0.02


def test_writing_a_graph_silences_what_its_libraries_say_and_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = export_onnx(fresh_classifier("cifarnet"), tmp_path / "model.onnx", {})
    export_int8(model, smooth_images(8), tmp_path / "model.int8.onnx", {})
    logging.getLogger("serving").warning("heard")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == ["heard"]


@pytest.mark.parametrize("key", FLOATS)
def test_a_float_file_is_little_larger_than_its_weights_as_halves(
    tiny_bundle: Path, manifest: Manifest, key: str
) -> None:
    graph = (tiny_bundle / FORMATS[key].file).stat().st_size - 2 * manifest.parameters
    assert graph < 150_000  # bytes; the weights as float32 would take 543,380 more


def test_safetensors_hold_the_weights_that_the_graphs_compute_with(tiny_bundle: Path, manifest: Manifest) -> None:
    model = load_safetensors(tiny_bundle / "model.safetensors")
    assert weights_sha256(model) == manifest.weights_sha256
    assert not model.training


def test_the_card_says_what_the_manifest_says(tiny_bundle: Path, manifest: Manifest) -> None:
    card = (tiny_bundle / "README.md").read_text()
    for artifact in manifest.artifacts:
        assert f"`{artifact.file}`" in card
        assert f"{artifact.evaluations[-1].accuracy:.2%}" in card
    assert all(label in card for label in manifest.labels)
    assert all(check.name in card for artifact in manifest.artifacts for check in artifact.parity.checks)
