"""A run that something stops: signals, a folder that is taken, a disk that is full; and how it goes on."""

import os
import pty
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import Command, Followed
from conftest import OWN_PROCESS, ROOT, command, on_a_full_disk, started
from small_runs import assert_same, contents, few_images

from cifar_models.checkpoint import load_checkpoint
from cifar_models.errors import InputError
from training.recipes import RECIPES
from training.run import EpochMetrics, Run
from training.stop import stop_request
from training.trainer import ELSEWHERE, Trainer
from training.world import World

EPOCHS = 4
STEPS = 100  # until a signal comes: 80 in an epoch, after the last of which nobody asks whether one came
SMALL = ("--model", "lenet", "--device", "cpu", "--batch-size", "2", "--validation", "0.2")
RECIPE = ("training.fit", *SMALL, "--epochs", str(EPOCHS))
DISK = 307_200  # bytes: room for the events of an epoch, not for a checkpoint
SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    command(*RECIPE, "--data", tiny_data, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def stopped(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, whose terminal had gone from the start, and which its SIGHUP stopped inside its second epoch."""
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    ours, its = pty.openpty()
    line = list(map(str, signalled(folder, tiny_data, signal.SIGHUP)))
    with Command("signalled", line, folder=ROOT, stdout=its, stderr=its) as process:
        os.close(its)
        os.close(ours)  # from here on, what it prints is an error of input or output
        assert process.wait() == 128 + signal.SIGHUP
    return folder


def signalled(folder: Path, data: Path, number: signal.Signals) -> tuple[str | Path, ...]:
    return (f"{number.value}", f"{STEPS}", "0", *RECIPE[1:], "--data", data, "--out", folder)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_inside_an_epoch_saves_the_run_and_says_how_it_goes_on(
    tiny_data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    own = {}
    if number == signal.SIGTERM:  # in an interpreter that ends by itself
        own["PYTHONPATH"] = str(ROOT / "tests" / "support")
    done = command("signalled", *signalled(tmp_path / "run", tiny_data, number), check=False, **own)
    assert done.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert done.stderr == "\nStopped, and saved at step 21 of epoch 2. The same command with --resume goes on.\n"
    saved = load_checkpoint(tmp_path / "run" / "last.pt")
    assert saved.training_state["epoch"] == saved.epoch == len(saved.history) == 1
    assert len(saved.training_state["losses"]) == saved.training_state["step"] == 21


def test_what_nohup_lets_a_run_ignore_it_goes_on_ignoring() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_request() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_half_an_epoch_is_not_evaluated_as_an_epoch(stopped: Path, tiny_data: Path) -> None:
    done = command("training.evaluate", stopped / "last.pt", "--data", tiny_data, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith(f"error: {stopped / 'last.pt'} is of a run that was stopped 21 steps into epoch 2; ")
    assert not list(stopped.glob("report*"))


def test_a_run_that_a_signal_stopped_ends_as_if_it_had_not_been_stopped(
    stopped: Path, whole: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "run")
    saved = load_checkpoint(folder / "last.pt")
    assert saved.training_state["seconds"] > 0
    saved.training_state["seconds"] = 1000.0
    saved.save(folder / "last.pt")
    command(*RECIPE, "--resume", "--data", tiny_data, "--out", folder, **OWN_PROCESS)
    last = load_checkpoint(folder / "last.pt")
    assert_same(last, load_checkpoint(whole / "last.pt"))
    assert_same(load_checkpoint(folder / "best.pt"), load_checkpoint(whole / "best.pt"))
    assert [epoch["seconds"] > 1000 for epoch in last.history] == [False, True, False, False]


def test_a_run_that_lost_its_last_checkpoint_in_the_end_has_it_again(
    whole: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    load_checkpoint(whole / "last.pt").save(folder / "best.pt")
    (folder / "last.pt").unlink()
    command(*RECIPE, "--resume", "--data", tiny_data, "--out", folder)
    assert_same(load_checkpoint(folder / "last.pt"), load_checkpoint(whole / "last.pt"))


def test_a_run_folder_in_use_is_refused_and_the_run_in_it_goes_on(tiny_data: Path, tmp_path: Path) -> None:
    line = ("training.fit", *SMALL, "--epochs", "1000", "--data", tiny_data, "--out", tmp_path / "run")
    with started(*line) as process:
        wait_for_an_epoch(process)
        done = command(*line, "--resume", check=False)
        wait_for_an_epoch(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    (error,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert f"{tmp_path / 'run'} is in use" in error


def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(stopped: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stopped, tmp_path / "run")
    before = contents(folder)
    done = on_a_full_disk(DISK, *RECIPE, "--resume", "--data", tiny_data, "--out", folder)
    (error,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert f"{folder / 'best.pt'} cannot" in error or f"{folder / 'last.pt'} cannot" in error
    after = contents(folder)
    assert all(path.name.startswith("events.") for path in set(after) - set(before))  # the next call replaces them
    assert after[folder / "last.pt"] == before[folder / "last.pt"]
    assert after[folder / "best.pt"] == before[folder / "best.pt"]


def test_a_disk_too_full_for_the_metrics_is_an_error_that_names_them(tmp_path: Path) -> None:
    data = few_images(4, seed=1)
    run = Run(folder=tmp_path, recipe=replace(RECIPES["seed003-lenet"], validation=0.5), data=data, data_name="tiny")
    trainer = Trainer(run.recipe, *run.split(), torch.device("cpu"), World())
    metrics = EpochMetrics(1, *[0.0] * 6)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(InputError, match=r"metrics\.jsonl cannot be written"):
            run.save_epoch(trainer, metrics)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(tmp_path) == {}


def test_a_disk_that_is_full_from_the_start_gets_no_part_of_a_checkpoint(tiny_data: Path, tmp_path: Path) -> None:
    done = on_a_full_disk(DISK, *RECIPE, "--data", tiny_data, "--out", tmp_path / "run")
    (error,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert f"{tmp_path / 'run' / 'best.pt'} cannot be written (File too large)" in error
    names = {path.name for path in contents(tmp_path / "run")}
    assert names == {"metrics.jsonl", "recipe.json", "events.out.tfevents.00000", "events.out.tfevents.00001"}


def test_too_little_memory_names_the_batch_to_try(tiny_data: Path, tmp_path: Path) -> None:
    line = ("seed002-alexnet", "--device", "cpu", "--batch-size", "160", "--validation", "0.2")
    done = command("short_of_memory", "900", *line, "--data", tiny_data, "--out", tmp_path / "run", check=False)
    (error,) = done.stderr.splitlines()
    assert done.returncode == 2
    advice = f"try --batch-size 80, with half the learning rate, {ELSEWHERE}"
    assert error == f"error: cpu has no memory for batches of 160; {advice}."
    assert not (tmp_path / "run" / "last.pt").exists()


def test_too_little_memory_for_the_network_says_what_to_try(tiny_data: Path, tmp_path: Path) -> None:
    line = ("seed002-alexnet", "--device", "cpu", "--data", tiny_data, "--out", tmp_path / "run")
    done = command("short_of_memory", "100", *line, check=False)  # the network alone takes 228
    (error,) = done.stderr.splitlines()
    assert done.returncode == 2
    advice = "free some of it, or take another device or a smaller network"  # options differ: training.tune has neither
    assert error == f"error: cpu has no memory for the images and alexnet_224; {advice}."


def wait_for_an_epoch(process: Followed) -> None:
    assert any(line.startswith("epoch ") for line in process.stdout), process.errors
