"""The license of weights and files: what whoever exports them says, or nothing."""

from pathlib import Path

from conftest import command
from test_export import READERS

from cifar_models.bundle import open_bundle


def test_no_license_is_stated_unasked(tiny_bundle: Path) -> None:
    assert_license(tiny_bundle, None)
    assert "license" not in (tiny_bundle / "README.md").read_text().lower()


def test_the_license_that_was_asked_for_is_stated_by_files_and_card(
    tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """The quickest formats to make: what all describe themselves with is the same."""
    formats = ("--formats", "torchscript-fp32", "safetensors-fp32")
    line = ("export", tiny_run / "best.pt", "--out", tmp_path / "m", "--data", tiny_data, *formats)
    command(*line, "--license", "CC-BY-4.0")
    command("export.verify", tmp_path / "m")
    assert_license(tmp_path / "m", "CC-BY-4.0")
    card = (tmp_path / "m" / "README.md").read_text()
    assert card.endswith("\nWeights and files: CC-BY-4.0.\n")
    assert "--license CC-BY-4.0" in card  # of the command that makes the files again


def assert_license(bundle: Path, license_: str | None) -> None:
    manifest = open_bundle(bundle).manifest
    assert manifest.license == license_
    for artifact in manifest.artifacts:
        assert READERS[artifact.format](bundle / artifact.file).get("license") == license_
