"""`python -m bench.report`: figures of the shipped files, and no report where they are not those of the manifest."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import command
from damaged import Manifest, copy_bundle, edit_manifest, flip_bit
from PIL import Image

from bench.report.__main__ import main
from bench.report.corruptions import CORRUPTIONS
from cifar_models.bundle import open_bundle
from cifar_models.errors import InputError

Report = Callable[..., int]


@pytest.fixture
def bundles(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A folder with one bundle, of few files: to be measured quickly, and damaged."""
    folder = tmp_path / "models"
    copy_bundle(tiny_bundle, folder / "tiny")

    def keep(manifest: Manifest) -> None:
        manifest["artifacts"] = [each for each in manifest["artifacts"] if each["format"] == "onnx"]

    edit_manifest(folder / "tiny", keep)
    return folder


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, bundles: Path, tiny_data: Path, tmp_path: Path) -> Report:
    """Run the command in this process, which spares loading torch."""

    def report(**options: Any) -> int:
        given = {"bundles": bundles, "data": tiny_data, "out": tmp_path / "docs", "seconds": 0.01} | options
        monkeypatch.setattr("sys.argv", ["report", *(f"--{name}={value}" for name, value in given.items())])
        return main()

    return report


def test_it_states_what_the_files_do(report: Report, bundles: Path, tmp_path: Path) -> None:
    assert report() == 0
    found = json.loads((tmp_path / "docs" / "models.json").read_text())
    tiny = found["bundles"]["tiny"]
    for artifact in open_bundle(bundles / "tiny").manifest.artifacts:
        test = artifact.evaluation("test")
        assert test is not None
        stated, given = test.model_dump(), tiny["files"][artifact.file]
        for name in ("nll", "ece"):  # sums, whose last digits are not the same with other threads
            assert given[name] == pytest.approx(stated.pop(name), abs=1e-3)
        assert {name: given[name] for name in stated} == stated
    assert found["bytes"] == sum(path.stat().st_size for path in (bundles / "tiny").iterdir())
    assert tiny["served"] == "model.int8.onnx"
    assert tiny["images_per_second"] > 0
    assert {name: len(accuracies) for name, accuracies in tiny["robustness"].items()} == dict.fromkeys(CORRUPTIONS, 3)


def test_the_page_shows_pictures_that_are_there(report: Report, tmp_path: Path) -> None:
    assert report() == 0
    page = (tmp_path / "docs" / "models.md").read_text()
    shown = {line.partition("](")[2].rstrip(")") for line in page.splitlines() if line.startswith("![")}
    assert shown == {path.relative_to(tmp_path / "docs").as_posix() for path in tmp_path.glob("docs/models/*")}
    assert len(shown) == 3
    assert "not CIFAR-10-C" in page
    assert str(tmp_path) not in page


def mistake(evaluation: Manifest, label: int) -> None:
    """State that no image of the label was answered right; without a contradiction, which would be found before."""
    row = evaluation["confusion"][label]
    evaluation["accuracy"] -= row[label] / evaluation["images"]
    row[label - 1] += row[label]
    evaluation["class_accuracies"][label] = row[label] = 0


unknown = {"class_accuracies": None, "confusion": None}


def on_test_of_int8(change: Callable[[Any], object]) -> Callable[[Manifest], object]:
    def apply(manifest: Manifest) -> None:
        (artifact,) = (each for each in manifest["artifacts"] if each["precision"] == "int8")
        change(artifact)

    return apply


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda artifact: artifact["evaluations"][1].update(accuracy=0.5, **unknown), "test accuracy"),
        (lambda artifact: artifact["evaluations"][1].update(ece=0.5), "test ECE"),
        (lambda artifact: artifact["evaluations"][1].update(nll=9), "test NLL"),
        (lambda artifact: mistake(artifact["evaluations"][1], 3), "accuracy of label 3"),
        (
            lambda artifact: artifact.update(
                selective={
                    "promise": 0.99,
                    "threshold": 0.0,
                    "validation": {"coverage": 1, "precision": 1},
                    "test": {"coverage": 0.5, "precision": 1},
                }
            ),
            "test coverage",
        ),
        (lambda artifact: artifact["evaluations"].pop(), "states no test accuracy"),
    ],
)
def test_a_figure_that_is_not_the_manifest_s_is_named_and_nothing_is_written(
    report: Report,
    bundles: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Any], object],
    named: str,
) -> None:
    edit_manifest(bundles / "tiny", on_test_of_int8(change))
    assert report() == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong: ")]
    assert any(named in line and "tiny/model.int8.onnx" in line for line in wrong)
    assert not (tmp_path / "docs").exists()


def test_the_threshold_may_move_as_many_answers_as_verification_allows(report: Report, bundles: Path) -> None:
    def change(artifact: Any) -> None:
        right = artifact["evaluations"][1]["accuracy"]
        done = {"coverage": 39 / 40, "precision": right}  # of 40 images; the threshold lets all pass
        artifact["selective"] = {"promise": 0.99, "threshold": 0.0, "validation": done, "test": done}

    edit_manifest(bundles / "tiny", on_test_of_int8(change))
    assert report() == 0


def test_a_damaged_file_is_named(report: Report, bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_bit(bundles / "tiny" / "model.onnx")
    assert report() == 1
    assert "model.onnx has sha256" in capsys.readouterr().out


def test_other_images_are_refused(report: Report, tiny_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    Image.new("RGB", (32, 32)).save(data / "test" / "cat" / "000.png")
    with pytest.raises(InputError, match="other test images"):
        report(data=data)


def test_no_bundle_is_refused(report: Report, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no bundle"):
        report(bundles=tmp_path)


def test_without_data_it_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    done = command("bench.report", check=False, CIFAR_DATA=str(tmp_path / "nowhere"))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert str(tmp_path / "nowhere") in line
    assert "--data" in line
    assert not (tmp_path / "nowhere").exists()
