"""The report of a run: `python -m training.evaluate`, the numbers it gives, the page it makes, what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEST_IMAGES, TINY_MODEL, command
from html_page import Page
from PIL import Image
from small_runs import contents
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional as F

from cifar_models.checkpoint import load_checkpoint
from cifar_models.cifar10 import LABELS
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet, load_images
from training import evaluate
from training.evaluate import mistake_table


@pytest.fixture(scope="module")
def beginner(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped early enough to make mistakes."""
    folder = tmp_path_factory.mktemp("runs") / "beginner"
    options = ("--data", tiny_data, "--data-name", "tiny", "--batch-size", "25", "--validation", "0.2")
    command(
        "training.fit", *options, "--model", TINY_MODEL, "--tensorboard", "seed000", "--epochs", "2", "--out", folder
    )
    return folder


@pytest.fixture(scope="module")
def evaluated(beginner: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `beginner` with its report."""
    folder = shutil.copytree(beginner, tmp_path_factory.mktemp("runs") / "evaluated")
    command("training.evaluate", folder, "--data", tiny_data)
    return folder


@pytest.fixture(scope="module")
def report(evaluated: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((evaluated / "report.json").read_text())
    return content


@pytest.fixture(scope="module", params=["validation", "test"])
def split(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_the_accuracy_is_that_of_the_best_checkpoint(
    evaluated: Path, tiny_data: Path, report: dict[str, Any], split: str
) -> None:
    logits, labels = predictions(evaluated, tiny_data, split)
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    low, high = report[split]["accuracy_interval_95"]
    assert report[split]["images"] == len(labels)
    assert report[split]["accuracy"] == pytest.approx(accuracy)
    assert low <= accuracy <= high
    assert 0 < high - low < 0.3


def test_a_run_is_measured_in_full_float32(
    beginner: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, allowed = Classifier.logits, []

    def watched(model: Classifier, images: Tensor) -> Tensor:
        allowed.append(torch.backends.cudnn.allow_tf32)
        return logits(model, images)

    monkeypatch.setattr(Classifier, "logits", watched)
    run = shutil.copytree(beginner, tmp_path / "run")
    monkeypatch.setattr("sys.argv", ["evaluate", str(run), "--data", str(tiny_data)])
    assert torch.backends.cudnn.allow_tf32  # torch's default, which training leaves
    evaluate.main()
    assert set(allowed) == {False}
    assert torch.backends.cudnn.allow_tf32


def test_the_first_tutorial_s_test_log_ends_with_the_test_accuracy(evaluated: Path, report: dict[str, Any]) -> None:
    events = EventAccumulator(str(evaluated / "tensorboard")).Reload()
    *_, last = events.Scalars("Test_Log")
    assert last.step == TEST_IMAGES * len(LABELS)
    assert last.value == pytest.approx(report["test"]["accuracy"])


def probabilities(report: dict[str, Any], logits: Tensor) -> Tensor:
    """As the report's calibration makes them of logits."""
    best = logits.topk(2, dim=1).values
    return torch.softmax(logits * (1 / report["temperature"] + report["sharpening"] * (best[:, :1] - best[:, 1:])), 1)


def test_the_likelihood_is_given_before_and_after_calibration(
    evaluated: Path, tiny_data: Path, report: dict[str, Any], split: str
) -> None:
    logits, labels = predictions(evaluated, tiny_data, split)
    before, after = F.cross_entropy(logits, labels), F.nll_loss(probabilities(report, logits).log(), labels)
    assert report[split]["nll"] == pytest.approx({"before": before.item(), "after": after.item()}, rel=1e-3)


def test_the_temperature_is_the_best_one_on_validation(
    evaluated: Path, tiny_data: Path, report: dict[str, Any]
) -> None:
    logits, labels = predictions(evaluated, tiny_data, "validation")
    near = {share * report["temperature"] for share in (0.9, 1.0, 1.1)}
    allowed = {temperature for temperature in near if 0.049 < temperature < 20.1}  # few epochs may ask for less

    def loss(temperature: float) -> float:
        return F.nll_loss(probabilities({**report, "temperature": temperature}, logits).log(), labels).item()

    best = min(allowed, key=loss)
    assert best == report["temperature"]
    assert report["validation"]["nll"]["after"] <= report["validation"]["nll"]["before"]


def test_the_calibration_error_is_the_mean_distance_of_confidence_and_accuracy(
    evaluated: Path, tiny_data: Path, report: dict[str, Any], split: str
) -> None:
    logits, labels = predictions(evaluated, tiny_data, split)
    for key, found in (("before", torch.softmax(logits, 1)), ("after", probabilities(report, logits))):
        confidence, answers = found.max(1)
        right = (answers == labels).double()
        bins = (confidence * 15).long().clamp(max=14)
        distances = [abs((confidence - right)[bins == each].sum().item()) for each in range(15)]
        assert report[split]["ece"][key] == pytest.approx(sum(distances) / len(labels), abs=1e-3)


def test_rows_of_the_confusion_matrix_are_labels(
    evaluated: Path, tiny_data: Path, report: dict[str, Any], split: str
) -> None:
    logits, labels = predictions(evaluated, tiny_data, split)
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels.numpy(), logits.argmax(1).numpy()), 1)
    assert report[split]["confusion"] == counts.tolist()
    assert set(counts.sum(1)) == {TEST_IMAGES}  # as many of each class in both splits


def test_each_class_has_its_recall_and_its_precision(report: dict[str, Any], split: str) -> None:
    counts = np.array(report[split]["confusion"])
    assert list(report[split]["classes"]) == list(LABELS)
    assert report[split]["mean_recall"] == pytest.approx((counts.diagonal() / counts.sum(1)).mean())
    for index, figures in enumerate(report[split]["classes"].values()):
        low, high = figures["recall_interval_95"]
        assert figures["images"] == TEST_IMAGES
        assert figures["recall"] == pytest.approx(counts[index, index] / TEST_IMAGES)
        assert figures["precision"] == pytest.approx(counts[index, index] / max(counts[:, index].sum(), 1))
        assert low - 1e-9 <= figures["recall"] <= high + 1e-9


def test_the_report_says_what_was_measured(report: dict[str, Any]) -> None:
    assert report["data"] == "tiny"
    assert report["recipe"]["model"] == TINY_MODEL
    assert report["epoch"] in (1, 2)


def test_the_page_is_whole_and_fetches_nothing(evaluated: Path) -> None:
    page = Page((evaluated / "report.html").read_text())
    assert page.open == []
    assert page.count("svg") == 5  # loss, accuracy, learning rate, reliability, confusion
    assert page.count("table") == 4  # splits, classes, mistakes, recipe
    assert page.count("script") == page.count("link") == page.count("iframe") == 0
    assert all(source.startswith(("#", "data:image/")) for source in page.sources)


def test_the_page_shows_the_wrong_pictures(evaluated: Path, report: dict[str, Any]) -> None:
    page = Page((evaluated / "report.html").read_text())
    wrong = TEST_IMAGES * len(LABELS) - int(np.trace(report["test"]["confusion"]))
    pictures = [source for source in page.sources if source.startswith("data:image/png;base64,")]
    assert page.count("figure") == page.count("figcaption") == min(wrong, 24) > 0
    assert len(pictures) >= page.count("figure")


def test_the_page_names_the_mistake_that_is_made_most(evaluated: Path, report: dict[str, Any]) -> None:
    wrong = np.array(report["test"]["confusion"])
    np.fill_diagonal(wrong, 0)
    label, answer = np.unravel_index(wrong.argmax(), wrong.shape)
    cells = (LABELS[label], LABELS[answer], str(wrong.max()), f"{wrong.max() / TEST_IMAGES:.1%}")
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    assert f"<tbody>\n<tr>{row}</tr>" in (evaluated / "report.html").read_text()


def test_where_nothing_was_mistaken_there_is_no_table_of_it() -> None:
    assert mistake_table(np.eye(2, dtype=int), ["cat", "dog"]) == ""
    assert "<td>dog</td><td>cat</td><td>3</td><td>75.0%</td>" in mistake_table(
        np.array([[4, 0], [3, 1]]), ["cat", "dog"]
    )


def test_images_that_stand_in_training_and_test_are_counted_and_the_page_is_utf_8_whatever_the_locale(
    beginner: Path, tiny_data: Path, tmp_path: Path, report: dict[str, Any]
) -> None:
    run, data = shutil.copytree(beginner, tmp_path / "run"), shutil.copytree(tiny_data, tmp_path / "data")
    shutil.copy(data / "train" / "cat" / "007.png", data / "test" / "dog" / "003.png")
    ascii_alone: dict[str, Any] = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = command("training.evaluate", run, "--data", data, **ascii_alone)
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "→" in html
    assert all("1 of the test images stands among the training images too" in text for text in (done.stdout, html))
    assert json.loads((run / "report.json").read_text())["repeats"] == {"validation": 0, "test": 1}
    assert report["repeats"] == {"validation": 0, "test": 0}


def test_images_on_both_sides_of_the_validation_split_are_counted() -> None:
    def of(*levels: int) -> ImageSet:
        images = [np.full((32, 32, 3), level, np.uint8) for level in levels]
        return ImageSet(np.stack(images), np.zeros(len(levels), np.int64), ("cat", "dog"))

    assert evaluate.count_repeats(of(0, 1, 1, 2), np.array([1, 3]), of(0, 2, 5)) == {"validation": 1, "test": 2}


def test_evaluating_leaves_the_run_as_it_was(evaluated: Path, beginner: Path) -> None:
    before, after = named(contents(beginner)), named(contents(evaluated))
    assert set(after) - set(before) == {"report.json", "report.html", "events.out.tfevents.test"}
    assert all(after[name] == before[name] for name in before)


def test_the_last_epoch_has_a_report_of_its_own_beside_the_best_one_s(
    evaluated: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(evaluated, tmp_path / "run")
    before = named(contents(folder))
    done = command("training.evaluate", folder / "last.pt", "--data", tiny_data)
    after = named(contents(folder))
    assert set(after) - set(before) == {"report-last.json", "report-last.html"}
    assert all(after[name] == before[name] for name in before)
    assert done.stdout.endswith(f"The whole report: {folder / 'report-last.html'}\n")
    report = json.loads(after["report-last.json"])
    logits, labels = predictions(folder, tiny_data, "test", "last.pt")
    assert (report["checkpoint"], report["epoch"]) == (str(folder / "last.pt"), 2)
    assert report["test"]["accuracy"] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert report["chosen_by"].startswith("its name, last.pt;")
    assert "Epoch 2, chosen by its name, last.pt; the test images chose nothing." in after["report-last.html"].decode()


def test_a_checkpoint_may_be_named_that_is_the_best_one_and_one_that_is_missing_is_called_so(
    beginner: Path, evaluated: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(beginner, tmp_path / "run")
    for name, words in (("lost.pt", f"No checkpoint at {folder / 'lost.pt'};"), ("x" * 300 + ".pt", "name too long")):
        assert words in command("training.evaluate", folder / name, "--data", tiny_data, check=False).stderr
    command("training.evaluate", folder / "best.pt", "--data", tiny_data)
    assert set(named(contents(folder))) == set(named(contents(evaluated)))


def test_other_data_are_refused(beginner: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(beginner, tmp_path / "run")
    data = shutil.copytree(tiny_data, tmp_path / "data")
    Image.new("RGB", (32, 32)).save(data / "train" / "cat" / "007.png")
    line = refusal(folder, "--data", data)
    assert "other images (tiny)" in line
    assert str(data) in line


def test_a_run_without_a_best_epoch_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    assert str(tmp_path / "best.pt") in refusal(tmp_path, "--data", tiny_data)


def refusal(folder: Path, *options: str | Path) -> str:
    before = contents(folder)
    done = command("training.evaluate", folder, *options, check=False)
    assert done.returncode == 2, done.stderr
    assert contents(folder) == before
    (line,) = done.stderr.splitlines()
    return line


def named(files: dict[Path, bytes]) -> dict[str, bytes]:
    return {path.name: content for path, content in files.items()}


def predictions(folder: Path, data: Path, split: str, name: str = "best.pt") -> tuple[Tensor, Tensor]:
    """Logits float64 and labels of a split, computed here."""
    checkpoint = load_checkpoint(folder / name)
    images = load_images(data, "test")
    if split == "validation":
        images = load_images(data, "train").subset(checkpoint.validation.numpy())
    with torch.inference_mode():
        logits, _ = checkpoint.classifier()(torch.from_numpy(images.images))
    return logits.double(), torch.from_numpy(images.labels)
