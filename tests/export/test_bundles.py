"""The bundles that ship are what their manifests say, and small and good enough to ship."""

from pathlib import Path

import pytest
from conftest import MODELS, command

from bench.report.page import MAX_BYTES
from cifar_models.bundle import open_bundle
from serving.settings import load_settings

BUNDLES = sorted(path.parent for path in MODELS.glob("[!.]*/manifest.json"))


@pytest.fixture(params=BUNDLES, ids=lambda path: path.name)
def bundle(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_the_default_bundle_ships() -> None:
    assert MODELS / load_settings({}).model in BUNDLES


def test_a_shipped_bundle_is_what_its_manifest_says(bundle: Path) -> None:
    assert "is what its manifest says" in command("export.verify", bundle).stdout


def test_a_shipped_bundle_is_small_and_of_the_size_that_it_states(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    stated = {file.file: file.bytes for file in manifest.files}
    found = {path.name: path.stat().st_size for path in bundle.iterdir()}
    assert sum(found.values()) <= 20_000_000
    assert found.pop("manifest.json") < 30_000
    assert found == stated


def test_all_bundles_together_are_small() -> None:
    assert sum(path.stat().st_size for bundle in BUNDLES for path in bundle.iterdir()) <= MAX_BYTES


def test_a_shipped_bundle_is_named_like_its_folder(bundle: Path) -> None:
    assert open_bundle(bundle).manifest.name == bundle.name


def test_the_default_bundle_labels_as_many_test_images_right_as_it_must_on_a_processor() -> None:
    artifact = open_bundle(MODELS / load_settings({}).model).manifest.find("onnx-int8")
    assert artifact is not None
    (test,) = (evaluation for evaluation in artifact.evaluations if evaluation.split == "test")
    assert test.images == 10_000
    assert test.accuracy >= 0.915


def test_the_stated_accuracy_is_that_of_the_shipped_files(bundle: Path, real_data: Path) -> None:
    done = command("export.verify", bundle, "--data", real_data)
    artifacts = open_bundle(bundle).manifest.artifacts
    assert done.stdout.count("test accuracy") == len(artifacts)
