"""A training run as a user sees it: `python -m training.fit`, and the run folder it leaves."""

import errno
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest
import torch
from commands import Command
from conftest import ROOT, TINY_EPOCHS, TINY_MODEL, TINY_RECIPE, command, started
from small_runs import RECIPE, SMALL, whole_run
from torch import nn

from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.command import run_command
from cifar_models.dataset import load_images, split_validation
from cifar_models.registry import ARCHITECTURES, Architecture, list_models
from export.__main__ import BUNDLE_NAME
from training import fit
from training.recipes import RECIPES
from training.run import Run

Train = Callable[..., Checkpoint]


@pytest.fixture
def perceptron(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains one for an epoch in this process, which alone knows it; returns the checkpoint."""

    def build(*, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))

    def train(name: str, *options: str) -> Checkpoint:
        line = ("--model", "perceptron", "--epochs", "1", "--validation", "0.2", "--device", "cpu", *options)
        monkeypatch.setattr(sys, "argv", ["fit", *line, "--data", str(tiny_data), "--out", str(tmp_path / name)])
        assert fit.main() == 0
        return load_checkpoint(tmp_path / name / "best.pt")

    monkeypatch.setitem(ARCHITECTURES, "perceptron", Architecture(build=build))
    return train


@pytest.fixture(scope="module")
def whole(shared: Path, tiny_data: Path) -> Path:
    return whole_run(shared, tiny_data)


def test_a_run_leaves_its_best_and_last_epoch_and_the_metrics_of_all(tiny_run: Path) -> None:
    lines = [json.loads(line) for line in (tiny_run / "metrics.jsonl").read_text().splitlines()]
    best, last = load_checkpoint(tiny_run / "best.pt"), load_checkpoint(tiny_run / "last.pt")
    assert [line["epoch"] for line in lines] == list(range(1, TINY_EPOCHS + 1))
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert (last.history, best.history) == (lines, lines[: best.epoch])
    # Of epochs that are right as often, the one that is surest of it.
    assert lines[best.epoch - 1] == max(lines, key=lambda line: (line["validation_accuracy"], -line["validation_loss"]))


def test_the_checkpoint_says_where_it_comes_from(tiny_run: Path, tiny_data: Path) -> None:
    saved, data = load_checkpoint(tiny_run / "best.pt"), load_images(tiny_data, "train")
    assert (saved.architecture, saved.data_name) == (TINY_MODEL, "tiny")
    assert (saved.recipe["epochs"], saved.recipe["lr"]) == (TINY_EPOCHS, RECIPES["cifarnet"].lr)
    assert (saved.labels, saved.data_fingerprint) == (list(data.classes), data.fingerprint())
    assert np.array_equal(saved.validation, split_validation(data, 0.2, 0)[1])


def test_the_run_says_in_its_folder_what_it_was_asked_to_do(tiny_run: Path, tiny_data: Path) -> None:
    record = json.loads((tiny_run / "recipe.json").read_text())
    saved = load_checkpoint(tiny_run / "last.pt")
    assert record["recipe"] == saved.recipe
    assert record["source_revision"] == saved.source_revision
    assert record["data"]["sha256"] == saved.data_fingerprint
    assert (record["data"]["training_images"], record["data"]["validation_images"]) == (160, 40)
    assert shlex.split(record["command"])[:3] == ["python", "-m", "training.fit"]
    assert {"--data", str(tiny_data), *TINY_RECIPE} <= set(shlex.split(record["command"]))


@pytest.mark.parametrize(("name", "bound"), [("tiny_run", 0.5), ("whole", 0.9)])
def test_a_run_learns_to_classify(request: pytest.FixtureRequest, tiny_data: Path, name: str, bound: float) -> None:
    model = load_checkpoint(request.getfixturevalue(name) / "best.pt").classifier()
    test = load_images(tiny_data, "test")
    with torch.inference_mode():
        _, probabilities = model(torch.from_numpy(test.images))
    assert (probabilities.argmax(1).numpy() == test.labels).mean() > bound  # by chance: 0.1


@pytest.mark.skipif(
    not (shutil.which("c++") and Path(sysconfig.get_path("include"), "Python.h").exists()),
    reason="torch.compile needs a C++ compiler and Python's headers: g++ and python3-dev",
)
def test_a_compiled_network_trains_to_the_same(
    perceptron: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its checkpoint is one of the network, not of the compiler's wrapper."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    plain, compiled = perceptron("plain"), perceptron("compiled", "--compile")
    assert set(compiled.weights) == set(plain.weights)
    assert compiled.history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=0.02)


def test_a_network_of_ones_own_needs_no_filters(perceptron: Train) -> None:
    """Though the default recipe has an optimizer for them."""
    assert perceptron("run").architecture == "perceptron"


@pytest.mark.parametrize("name", ["写真\u3000集", "猫\u200d犬"])  # a wide space, and what joins letters
def test_data_may_be_called_by_the_words_of_any_language(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).symlink_to(tiny_data)
    options = (*SMALL, "--epochs", "1", "--data", str(tmp_path / name), "--out", str(tmp_path / "run"))
    monkeypatch.setattr(sys, "argv", ["fit", *options])
    assert fit.main() == 0
    assert load_checkpoint(tmp_path / "run" / "best.pt").data_name == f"images in {name}"


def test_training_never_opens_the_test_images_and_says_what_it_leaves_out(tiny_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tiny_data, tmp_path / "data", ignore=shutil.ignore_patterns("test"))
    (data / "train" / "cat" / "photograph.tga").touch()
    done = command("training.fit", *SMALL, "--epochs", "1", "--data", data, "--out", tmp_path / "run")
    assert done.stdout.startswith(f"Left out of {data / 'train'}, as neither PNG nor JPEG by their names: 1 .tga.\n")


@pytest.mark.parametrize("name", ["my run", "tiny", "_läuft!", "…"])
def test_the_next_commands_can_be_pasted(tiny_data: Path, tmp_path: Path, name: str) -> None:
    run = Run(
        folder=tmp_path / name, recipe=RECIPES["cifarnet"], data=load_images(tiny_data, "train"), data_name="tiny"
    )
    evaluate, export = (shlex.split(line) for line in fit.next_commands(run, tiny_data).splitlines())
    assert evaluate == ["python", "-m", "training.evaluate", str(tmp_path / name), "--data", str(tiny_data)]
    assert export[3] == str(tmp_path / name / "best.pt")
    assert BUNDLE_NAME.fullmatch(Path(export[export.index("--out") + 1]).name)


def test_a_reader_who_has_left_before_a_short_output_is_noticed_too() -> None:
    line = [sys.executable, "-m", "training.fit", "--list"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(line, cwd=ROOT, env=buffered, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_disk_too_full_for_what_is_printed_is_said_in_one_line(tiny_data: Path, tmp_path: Path) -> None:
    run = (*SMALL, "--epochs", "1", "--data", str(tiny_data), "--out", str(tmp_path / "run"))
    for options in (["--list"], [*run]):
        with Path("/dev/full").open("w") as full, TemporaryFile("w+") as errors:
            both = Command("training.fit", options[:1], folder=ROOT, stdout=full, stderr=full)
            assert both.wait() == 2  # of --list, and of an option without its value
            process = Command("training.fit", options, folder=ROOT, stdout=full, stderr=errors)
            assert process.wait() == 2
            errors.seek(0)
            (line,) = errors.read().splitlines()
            assert line.startswith("error: What is printed cannot be written (No space left on device); ")


def test_a_full_disk_of_another_file_is_not_called_that_of_the_output() -> None:
    def write_elsewhere() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # without a name, as of each call that writes

    with pytest.raises(OSError, match="No space left on device"):
        run_command(write_elsewhere)


def test_a_reader_who_leaves_ends_the_run_without_a_traceback(tiny_data: Path, tmp_path: Path) -> None:
    with started("training.fit", *RECIPE, "--data", tiny_data, "--out", tmp_path / "run") as process:
        assert process.stdout.readline().startswith("lenet, ")
        process.stdout.close()
        assert process.wait() == 141
        assert process.errors == ""
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch >= 1


def test_help_names_every_model_and_the_next_command() -> None:
    text = command("training.fit", "--help").stdout
    assert {*list_models(), "runs/<name>/best.pt"} <= set(text.replace(",", " ").split())
