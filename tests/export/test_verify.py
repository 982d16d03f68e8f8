"""`python -m export.verify` finds whatever is not as a bundle's manifest says, and says it in one line."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import DEFAULT
from conftest import MODELS, Verify, command
from damaged import Manifest, contradict_golden, copy_bundle, describe, edit_manifest, flip_bit

from cifar_models.bundle import BundleError, read_manifest
from cifar_models.cifar10 import LABELS
from cifar_models.classifier import Classifier
from export.tolerance import TOLERANCES
from export.torch_archive import read_torch_metadata
from export.torchscript_file import export_torchscript

FILES = ["README.md", "golden.npz", "model.onnx", "model.int8.onnx", "model.torchscript.pt"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the default bundle, to be damaged."""
    return copy_bundle(MODELS / DEFAULT, tmp_path / DEFAULT)


def test_a_good_bundle_is_found_good(tiny_bundle: Path) -> None:
    done = command("export.verify", tiny_bundle)
    assert done.stdout.splitlines()[-1] == f"{tiny_bundle} is what its manifest says."
    assert done.stderr == ""


def test_a_bad_bundle_is_found_bad(bundle: Path) -> None:
    flip_bit(bundle / "model.onnx")
    done = command("export.verify", bundle, check=False)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 1
    assert line.startswith(f"wrong: {bundle / 'model.onnx'} ")


@pytest.mark.parametrize("file", [*FILES, "model.pt2", "model.safetensors"])
def test_one_flipped_bit_is_found_in_a_bundle_of_all_formats(
    tiny_bundle: Path, tmp_path: Path, verify: Verify, file: str
) -> None:
    bundle = copy_bundle(tiny_bundle, tmp_path / "tiny")
    flip_bit(bundle / file)
    assert f"{bundle / file} has sha256" in verify(bundle)


def test_one_flipped_bit_is_found_anywhere_in_a_manifest(tiny_bundle: Path, tmp_path: Path, verify: Verify) -> None:
    bundle = copy_bundle(tiny_bundle, tmp_path / "tiny")
    path = bundle / "manifest.json"
    right = path.read_bytes()
    for place in {*range(0, len(right), 97), right.index(b'"created": "') + 12}:
        path.write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
        with pytest.raises(BundleError, match=r"manifest\.json"):
            read_manifest(bundle)
    assert str(path) in verify(bundle)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda manifest: manifest["rounding"].update(checks=[]), id="rounding without checks"),
        pytest.param(lambda manifest: manifest["artifacts"][0]["parity"]["checks"].pop(), id="a check left out"),
        pytest.param(
            lambda manifest: manifest["artifacts"][-1]["parity"]["checks"][0].update(allowed=-1), id="a check failed"
        ),
        pytest.param(
            lambda manifest: manifest["artifacts"][0]["parity"]["checks"].append({"name": "colour", "difference": 0}),
            id="a check that nobody knows",
        ),
        pytest.param(
            lambda manifest: manifest["artifacts"][0]["parity"]["checks"].insert(
                0, {"name": "labels", "difference": 0.9, "allowed": 1.0}
            ),
            id="a check that is there twice",
        ),
    ],
)
def test_a_file_without_proof_is_found(bundle: Path, verify: Verify, change: Callable[[Manifest], object]) -> None:
    edit_manifest(bundle, change)
    assert "is not proved" in verify(bundle)


def test_wrong_inputs_must_have_been_tried_on_a_file_of_today(
    tiny_bundle: Path, tmp_path: Path, verify: Verify
) -> None:
    bundle = copy_bundle(tiny_bundle, tmp_path / "tiny")
    edit_manifest(bundle, lambda manifest: manifest["artifacts"][0]["parity"]["checks"].pop())
    assert "wrong inputs answered missing" in verify(bundle)


@pytest.mark.parametrize(
    ("key", "name", "allowed"),
    [
        ("onnx-fp32", "logits", None),
        ("onnx-fp32", "runs", 1.0),
        ("onnx-fp32", "runs", None),
        ("onnx-fp32", "probabilities", 1e9),
        ("onnx-int8", "labels", 1.0),
        ("onnx-int8", "logits", 1e9),
        ("onnx-int8", "neighbours", None),
        ("torchscript-fp32", "logits", 1e9),
        ("torchscript-fp32", "extreme probabilities", 1.0),
    ],
)
def test_a_manifest_that_allows_itself_more_than_the_gate_is_found(
    bundle: Path, verify: Verify, key: str, name: str, allowed: float | None
) -> None:
    def allow(manifest: Manifest) -> None:
        checks = manifest["artifacts"][list(TOLERANCES).index(key)]["parity"]["checks"]
        next(check for check in checks if check["name"] == name)["allowed"] = allowed

    edit_manifest(bundle, allow)
    assert "not the gate's limit" in verify(bundle)


@pytest.mark.parametrize("proof", ["rounding", "cuda_parity"])
@pytest.mark.parametrize(("name", "allowed"), [("labels", None), ("labels", 1.0), ("probabilities", 1.0)])
def test_every_proof_is_held_to_the_gate(
    bundle: Path, verify: Verify, proof: str, name: str, allowed: float | None
) -> None:
    def allow(manifest: Manifest) -> None:
        parity = manifest["rounding"]
        if proof == "cuda_parity":
            parity = {**manifest["artifacts"][0]["parity"], "arithmetic": "fp32"}
            parity["checks"] = [{**check, "difference": 0.0} for check in parity["checks"][:-1]]  # thread counts
            manifest["artifacts"][0]["cuda_parity"] = [parity]
        next(check for check in parity["checks"] if check["name"] == name).update(allowed=allowed, difference=0.0)

    edit_manifest(bundle, allow)
    assert "not the gate's limit" in verify(bundle)


@pytest.mark.parametrize(("end", "new"), [(b"\n", b"\r\n"), (b"", b"\xff")], ids=["other line ends", "no UTF-8"])
def test_a_card_is_held_to_every_byte(bundle: Path, verify: Verify, end: bytes, new: bytes) -> None:
    card = bundle / "README.md"
    card.write_bytes(card.read_bytes().replace(end, new) if end else card.read_bytes() + new)
    edit_manifest(bundle, lambda manifest: manifest.update(card=describe(card)))
    assert "The model card of" in verify(bundle)


@pytest.mark.parametrize(
    "values", [{"class_accuracies": None}, {"images": 0, "confusion": None, "class_accuracies": None}]
)
def test_figures_that_make_no_card_are_found(bundle: Path, verify: Verify, values: dict[str, Any]) -> None:
    def change(manifest: Manifest) -> None:
        for artifact in manifest["artifacts"]:
            artifact["evaluations"][1].update(values)

    edit_manifest(bundle, change)
    assert f"The figures in the manifest of {bundle} make no card: " in verify(bundle)


def test_golden_images_without_a_files_probabilities_are_found(bundle: Path, verify: Verify) -> None:
    path = bundle / "golden.npz"
    with np.load(path) as golden:
        arrays = {name: golden[name] for name in golden.files if name != "onnx-int8"}
    np.savez(path, allow_pickle=False, **arrays)
    edit_manifest(bundle, lambda manifest: manifest.update(golden=describe(path)))
    assert "onnx-int8" in verify(bundle)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_found(bundle: Path, verify: Verify, file: str) -> None:
    (bundle / file).unlink()
    assert str(bundle / file) in verify(bundle)


def test_a_missing_manifest_is_found(bundle: Path, verify: Verify) -> None:
    (bundle / "manifest.json").unlink()
    assert "manifest.json" in verify(bundle)
    assert "manifest.json" in verify(bundle / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 1}', "\x00", "nan"])
def test_a_manifest_that_is_none_is_found(bundle: Path, verify: Verify, text: str) -> None:
    (bundle / "manifest.json").write_text(text)
    assert "is not a valid manifest" in verify(bundle)


@pytest.mark.parametrize("schema", [2, 3])
def test_a_manifest_of_an_older_schema_is_named(bundle: Path, verify: Verify, schema: int) -> None:
    edit_manifest(bundle, lambda manifest: (manifest.update(schema_version=schema), manifest.pop("sharpening")))
    line = verify(bundle)
    assert line.startswith(f"wrong: {bundle} is of schema {schema}, ")
    assert line.endswith("schema 4 and later can: export the checkpoint again.")


def on_artifact(**values: Any) -> Callable[[Manifest], None]:
    return lambda manifest: manifest["artifacts"][0].update(values)


def on_evaluation(**values: Any) -> Callable[[Manifest], None]:
    """Of the first artifact on test images."""
    return lambda manifest: manifest["artifacts"][0]["evaluations"][1].update(values)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda manifest: manifest.update(colour="red"), "colour"),
        (lambda manifest: manifest["input"].update(colour="BGR"), "input.colour"),
        (lambda manifest: manifest["input"].update(color="BGR"), "input.color"),
        (lambda manifest: manifest["input"].update(layout="NCHW"), "input.layout"),
        (lambda manifest: manifest["input"].update(shape=["batch", 32, 32, 1]), "input.shape"),
        (lambda manifest: manifest["input"].update(shape=[1, 32, 32, 3]), "input.shape"),
        (lambda manifest: manifest.update(schema_version=7), "schema_version"),
        (lambda manifest: manifest.pop("labels"), "labels"),
        (lambda manifest: manifest.update(labels=["cat"]), "labels"),
        (lambda manifest: manifest.update(labels=["cat"] * 10), "label"),
        (lambda manifest: manifest.update(temperature=0), "temperature"),
        (lambda manifest: manifest["artifacts"][0]["evaluations"][0]["class_accuracies"].pop(), "labels than 10"),
        (lambda manifest: manifest["artifacts"][0]["evaluations"][0]["confusion"][3].pop(), "labels than 10"),
        (lambda manifest: manifest["artifacts"][0]["evaluations"][0].update(confusion=[]), "labels than 10"),
        (on_evaluation(accuracy=0.9999), "model.onnx has accuracy 0.9999 on test, by its confusion matrix 0."),
        (on_evaluation(images=20_000), "has images 20000 on test"),
        (on_evaluation(class_accuracies=[1.0] * 10), "has accuracy of label 0 1 on test"),
        (on_evaluation(confusion=[[0] * 10] * 10), "by its confusion matrix 0"),
        (lambda manifest: manifest.update(sharpening=-0.1), "sharpening"),
        (lambda manifest: manifest.update(artifacts=[]), "artifacts"),
        (lambda manifest: manifest["artifacts"].append(manifest["artifacts"][0]), "artifact"),
        (on_artifact(file="../model.onnx"), "artifacts.0.file"),
        (on_artifact(file="/etc/passwd"), "artifacts.0.file"),
        (on_artifact(sha256="0"), "artifacts.0.sha256"),
        (on_artifact(sha256="0" * 64), "has sha256"),
        (on_artifact(bytes=0), "artifacts.0.bytes"),
        (on_artifact(format="pickle"), "artifacts.0.format"),
        (lambda manifest: manifest["golden"].update(sha256="0" * 64), "has sha256"),
        (lambda manifest: manifest.update(card=None), "model card"),
    ],
)
def test_a_manifest_that_cannot_be_true_is_found(
    bundle: Path, verify: Verify, change: Callable[[Manifest], object], named: str
) -> None:
    edit_manifest(bundle, change)
    assert named in verify(bundle)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda manifest: manifest["labels"].reverse(), id="labels in another order"),
        pytest.param(lambda manifest: manifest["labels"].pop(), id="a label less than outputs"),
        pytest.param(lambda manifest: manifest["labels"].append("whale"), id="a label more than outputs"),
        pytest.param(lambda manifest: manifest["input"].update(shape=["batch", 64, 64, 3]), id="shape"),
        pytest.param(lambda manifest: manifest["input"].update(mean=[0, 0, 0]), id="mean"),
        pytest.param(lambda manifest: manifest.update(temperature=3), id="temperature"),
        pytest.param(lambda manifest: manifest.update(sharpening=3), id="sharpening"),
        pytest.param(lambda manifest: manifest.update(weights_sha256="0" * 64), id="weights"),
        pytest.param(lambda manifest: manifest.update(schema_version=5, license="MIT"), id="license"),
        pytest.param(on_artifact(bytes=1), id="bytes"),
        pytest.param(on_artifact(precision="int8", format="torchscript"), id="format"),
    ],
)
def test_a_manifest_that_contradicts_its_files_is_found(
    bundle: Path, verify: Verify, change: Callable[[Manifest], object]
) -> None:
    edit_manifest(bundle, change)
    verify(bundle)


def test_files_that_compute_something_else_are_found(bundle: Path, verify: Verify) -> None:
    contradict_golden(bundle)
    assert "fails its golden images" in verify(bundle)


def test_a_torchscript_file_of_other_weights_is_found(tiny_bundle: Path, tmp_path: Path, verify: Verify) -> None:
    bundle = copy_bundle(tiny_bundle, tmp_path / "tiny")
    path = bundle / "model.torchscript.pt"
    description = read_torch_metadata(path)  # it says of itself what the right one says
    export_torchscript(Classifier("lenet", num_classes=len(LABELS)).eval(), path, description)
    edit_manifest(bundle, lambda manifest: manifest["artifacts"][2].update(describe(path)))
    assert f"{path} fails its golden images" in verify(bundle)


def test_a_card_that_praises_another_figure_is_found(bundle: Path, verify: Verify) -> None:
    card = bundle / "README.md"
    card.write_text(re.sub(r"\d\d\.\d\d%", "99.35%", card.read_text(), count=1))
    edit_manifest(bundle, lambda manifest: manifest.update(card=describe(card)))
    assert "model card" in verify(bundle)
