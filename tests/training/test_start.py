"""A run that begins with the weights of another one, by the command, and the ones that it refuses."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import command
from small_runs import refusal

from cifar_models.checkpoint import load_checkpoint

SMALL = ("--model", "lenet", "--device", "cpu", "--batch-size", "50", "--validation", "0.2", "--epochs", "1")
STANDING = ("--optimizer", "sgd", "--lr", "0")  # so that the weights stay those that it began with


@pytest.fixture(scope="module")
def begun(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "begun"
    command("training.fit", *SMALL, "--data", tiny_data, "--out", folder)
    return folder / "best.pt"


def test_a_run_begins_with_the_weights_of_its_start(begun: Path, tiny_data: Path, tmp_path: Path) -> None:
    for name, options in {"fresh": (), "going on": ("--start", begun)}.items():
        command("training.fit", *SMALL, *STANDING, *options, "--data", tiny_data, "--out", tmp_path / name)
    weights = load_checkpoint(begun).weights
    fresh, going_on = (load_checkpoint(tmp_path / name / "best.pt") for name in ("fresh", "going on"))
    assert going_on.recipe["start"] == str(begun)
    for name, value in weights.items():
        assert torch.equal(going_on.weights[name], value), name
    assert any(not torch.equal(fresh.weights[name], value) for name, value in weights.items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "lenet_120"), "is of lenet, and the run of lenet_120"),
        (("--normalisation", "half"), "takes images normalised otherwise"),
        (("--seed", "1"), "was trained on images that this run holds out"),
        (("--start", "nowhere.pt"), "nowhere.pt"),
        (("--optimizer", "muon"), "lenet has no batch norm to make up for it; train with --optimizer sgd"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    begun: Path, tiny_data: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in refusal(tmp_path / "run", *SMALL, "--start", begun, *options, "--data", tiny_data)
    assert not (tmp_path / "run").exists()


def test_a_run_begins_with_a_wider_network_narrowed(tiny_data: Path, tmp_path: Path) -> None:
    """And keeps most of what that one knew; but for batch norm's statistics it does not learn here."""
    few = shutil.copytree(tiny_data, tmp_path / "data", ignore=shutil.ignore_patterns("01?.png"))
    options = ("--device", "cpu", "--batch-size", "10", "--validation", "0.2", "--epochs", "1", "--data", few)
    wide, narrow = tmp_path / "wide" / "best.pt", tmp_path / "narrow" / "best.pt"
    command("training.fit", *options, "--epochs", "2", "--out", wide.parent)
    command("training.fit", "--model", "cifarnet_narrow", *STANDING, "--start", wide, *options, "--out", narrow.parent)
    assert load_checkpoint(narrow).history[0]["validation_accuracy"] > 0.5  # of ten labels
    words = refusal(tmp_path / "wide again", "--model", "cifarnet", "--start", narrow, *options)
    assert "is of cifarnet_narrow, and the run of cifarnet." in words
