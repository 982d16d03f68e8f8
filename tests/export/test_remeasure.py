"""`python -m export.verify --data` measures again what a manifest states, and finds what is not so."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Verify, command, write_tiny_data
from damaged import Manifest, copy_bundle, describe, edit_manifest
from PIL import Image

from cifar_models.bundle import open_bundle
from cifar_models.cifar10 import LABELS
from cifar_models.manifest import Manifest as Manifested
from export.bundle import export_bundle
from export.card import render_card
from export.remeasure import evaluated
from export.source import load_source
from export.verify import main


def restate(bundle: Path, change: Callable[[Manifest], object]) -> None:
    """Change the manifest; the card says it as well."""

    def apply(manifest: Manifest) -> None:
        change(manifest)
        (bundle / "README.md").write_text(render_card(Manifested.model_validate(manifest)))
        manifest["card"] = describe(bundle / "README.md")

    edit_manifest(bundle, apply)


def test_the_stated_accuracies_are_measured_again(tiny_bundle: Path, tiny_data: Path) -> None:
    lines = command("export.verify", tiny_bundle, "--data", tiny_data).stdout.splitlines()
    assert sum("validation accuracy" in line and "on 40 images (tiny)" in line for line in lines) == 5
    assert sum("test accuracy" in line and "on 40 images (tiny)" in line for line in lines) == 3


def test_data_without_training_images_are_enough_for_the_test_images(
    tiny_bundle: Path,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(tiny_data / "test", tmp_path / "data" / "test")
    monkeypatch.setattr("sys.argv", ["verify", str(tiny_bundle), "--data", str(tmp_path / "data")])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("test accuracy" in line for line in lines) == 3
    assert any("not measured again" in line and "validation" in line for line in lines)


@pytest.mark.parametrize("name", ["accuracy", "ECE", "NLL"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_another_figure_is_found(
    tiny_bundle: Path, tiny_data: Path, tmp_path: Path, verify: Verify, split: str, name: str
) -> None:
    bundle = copy_bundle(tiny_bundle, tmp_path / "tiny")

    def boast(manifest: Manifest) -> None:
        (stated,) = (part for part in manifest["artifacts"][0]["evaluations"] if part["split"] == split)
        stated[name.lower()] += 0.002 if stated[name.lower()] < 0.9 else -0.002
        stated.update(class_accuracies=None, confusion=None)  # they would contradict it

    restate(bundle, boast)
    said = verify(bundle, "--data", tiny_data)
    assert name in said
    assert f"on 40 {split} images; its manifest says" in said


def test_another_accuracy_of_a_label_is_found(tiny_bundle: Path) -> None:
    """Two labels may exchange theirs, and no figure of all images changes."""
    artifact = open_bundle(tiny_bundle).manifest.artifacts[0]
    found = artifact.evaluations[1]
    shares = [0.5, 1.0, *(found.class_accuracies or [])[2:]]
    stated = found.model_copy(update={"class_accuracies": shares})
    exchanged = found.model_copy(update={"class_accuracies": [1.0, 0.5, *shares[2:]]})
    wrong = [figure.name for figure in evaluated(artifact, stated, exchanged) if not figure.is_close]
    assert wrong == ["accuracy of label 0", "accuracy of label 1"]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_bundle_that_states_no_accuracy_is_found(
    tiny_bundle: Path, tiny_data: Path, tmp_path: Path, verify: Verify, split: str
) -> None:
    bundle = copy_bundle(tiny_bundle, tmp_path / "tiny")

    def keep_silent(manifest: Manifest) -> None:
        for artifact in manifest["artifacts"][-1:] if split == "validation" else manifest["artifacts"][2:3]:
            artifact["evaluations"] = [part for part in artifact["evaluations"] if part["split"] != split]

    restate(bundle, keep_silent)
    assert f"states no {split} accuracy of model." in verify(bundle, "--data", tiny_data)


@pytest.mark.parametrize(("split", "named"), [("train", "trained on other images"), ("test", "40 other test images")])
def test_other_images_than_those_of_the_manifest_are_no_fault_of_the_bundle(
    tiny_bundle: Path, tiny_data: Path, tmp_path: Path, split: str, named: str
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    for path in (data / split / "cat").iterdir():
        Image.new("RGB", (32, 32)).save(path)
    assert_refused(tiny_bundle, data, named)


def test_data_of_other_classes_are_no_fault_of_the_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    data = write_tiny_data(tmp_path / "data", classes=LABELS[:3])
    assert_refused(tiny_bundle, data, "40 other test images")


def assert_refused(bundle: Path, data: Path, named: str) -> None:
    done = command("export.verify", bundle, "--data", data, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith("error: ")
    assert named in line
    assert line.endswith("name their folder with --data.")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda recipe: recipe.update(seed=1), "was measured on 40 other images"),
        (lambda recipe: recipe.update(validation=0.0), "does not say which images were held out"),
        (lambda recipe: recipe.pop("seed"), "does not say which images were held out"),
    ],
)
def test_a_recipe_that_held_out_other_images_is_found(
    tiny_bundle: Path,
    tiny_data: Path,
    tmp_path: Path,
    verify: Verify,
    change: Callable[[Manifest], object],
    named: str,
) -> None:
    bundle = copy_bundle(tiny_bundle, tmp_path / "tiny")
    restate(bundle, lambda manifest: change(manifest["origin"]["recipe"]))
    assert named in verify(bundle, "--data", tiny_data)


@pytest.fixture(scope="module")
def chosen(tiny_run: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a threshold, where 40 images were enough to choose one."""
    folder = tmp_path_factory.mktemp("chosen") / "sure"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cifar_models.selective.PROMISE", 0.5)
        source = load_source(tiny_run / "best.pt", tiny_data)
        manifest = export_bundle(source, folder, cuda=False, formats=["onnx-fp32"], report=lambda _: None)
    assert manifest.artifacts[0].selective is not None
    return folder


@pytest.fixture
def sure(chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to change, where they are enough again."""
    monkeypatch.setattr("cifar_models.selective.PROMISE", 0.5)
    return copy_bundle(chosen, tmp_path / "sure")


def test_a_threshold_is_chosen_again(
    sure: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["verify", str(sure), "--data", str(tiny_data)])
    assert main() == 0
    assert "is what its manifest says" in capsys.readouterr().out


def on_selective(part: str | None = None, **values: Any) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        selective = manifest["artifacts"][0]["selective"]
        (selective[part] if part else selective).update(values)

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (on_selective(threshold=0.0), "threshold"),
        (lambda manifest: manifest["artifacts"][0].update(selective=None), "its manifest says None"),
        (on_selective("validation", coverage=0.123), "its manifest says 0.1230"),
        (on_selective("validation", precision=0.123), "its manifest says 0.1230"),
        (on_selective("test", coverage=0.123), "its manifest says 0.1230"),
        (on_selective("test", precision=0.123), "its manifest says 0.1230"),
    ],
)
def test_another_threshold_or_what_it_does_is_found(
    sure: Path, tiny_data: Path, verify: Verify, change: Callable[[Manifest], object], named: str
) -> None:
    restate(sure, change)
    assert named in verify(sure, "--data", tiny_data)
