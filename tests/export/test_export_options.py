"""What `python -m export` makes by its options, and of runs and places that are not the usual ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import ROOT, command
from exported import READERS, holding

from cifar_models.bundle import open_bundle
from cifar_models.checkpoint import load_checkpoint
from export.formats import FORMATS


class Exported(NamedTuple):
    """What the command left, and what it said."""

    bundle: Path
    said: str


@pytest.fixture(scope="module")
def exported(tiny_run: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The quickest formats to make, in any order, with a license, of a run that learned from other networks."""
    folder = tmp_path_factory.mktemp("exported")
    checkpoint = load_checkpoint(tiny_run / "best.pt")
    ancestors = {
        "start": f"{folder}/big/last.pt",
        "teachers": f"{folder}/big/best.pt,{ROOT}/runs/near/best.pt,runs/typed/best.pt",
    }
    replace(checkpoint, recipe=checkpoint.recipe | ancestors).save(folder / "best.pt")
    options = ("--formats", "safetensors-fp32", "torchscript-fp32", "--license", "CC-BY-4.0")
    done = command("export", folder / "best.pt", "--out", folder / "m", "--data", tiny_data, *options)
    return Exported(folder / "m", done.stdout)


def test_what_was_asked_for_is_proved_like_all(exported: Exported) -> None:
    assert "memory layouts" in exported.said  # the table of what was compared
    command("export.verify", exported.bundle)


def test_some_formats_can_be_left_out(exported: Exported) -> None:
    graph, weights = open_bundle(exported.bundle).manifest.artifacts
    assert (graph.key, weights.key) == ("torchscript-fp32", "safetensors-fp32")
    assert [evaluation.split for evaluation in graph.evaluations] == ["validation", "test"]  # of its kind the first


def test_how_it_is_served_from_another_folder_is_said(exported: Exported) -> None:
    assert exported.said.endswith(f"  make serve, with CIFAR_BUNDLES={exported.bundle.parent} and CIFAR_MODEL=m\n")


def test_no_file_says_where_the_networks_lay_that_it_learned_from(exported: Exported) -> None:
    assert holding([str(ROOT), str(exported.bundle.parent)], exported.bundle) == []
    recipe = open_bundle(exported.bundle).manifest.origin.recipe
    assert recipe["start"] == "big/last.pt"
    assert recipe["teachers"] == "big/best.pt,runs/near/best.pt,runs/typed/best.pt"


def test_the_license_that_was_asked_for_is_stated_by_files_and_card(exported: Exported) -> None:
    """What all formats describe themselves with is the same."""
    assert_license(exported.bundle, "CC-BY-4.0")
    card = (exported.bundle / "README.md").read_text()
    assert card.endswith("\nWeights and files: CC-BY-4.0.\n")
    assert "--license CC-BY-4.0" in card  # of the command that makes the files again


def test_no_license_is_stated_unasked(tiny_bundle: Path) -> None:
    assert_license(tiny_bundle, None)
    assert "license" not in (tiny_bundle / "README.md").read_text().lower()


def assert_license(bundle: Path, license_: str | None) -> None:
    manifest = open_bundle(bundle).manifest
    assert manifest.license == license_
    for artifact in manifest.artifacts:
        assert READERS[artifact.format](bundle / artifact.file).get("license") == license_


def test_a_bundle_is_utf_8_whatever_the_locale(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(tiny_run / "best.pt")
    replace(checkpoint, data_name="Käse").save(tmp_path / "best.pt")
    ascii_alone: dict[str, Any] = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    line = ("export", tmp_path / "best.pt", "--out", tmp_path / "m", "--data", tiny_data)
    command(*line, "--formats", "torchscript-fp32", **ascii_alone)
    assert open_bundle(tmp_path / "m").manifest.origin.data == "Käse"
    command("export.verify", tmp_path / "m")


def test_the_int8_file_can_be_the_only_one(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    command("export", tiny_run / "best.pt", "--out", tmp_path / "m", "--data", tiny_data, "--formats", "onnx-int8")
    (artifact,) = open_bundle(tmp_path / "m").manifest.artifacts
    assert artifact.key == "onnx-int8"
    assert not (tmp_path / "m" / FORMATS["onnx-fp32"].file).exists()
    command("export.verify", tmp_path / "m")
