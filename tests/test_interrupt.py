"""A run that something stops: signals, a folder that is taken, a disk that is full; and how it goes on."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from conftest import OWN_PROCESS, ROOT, command
from test_recipes import few_images
from test_training import assert_same, contents

from cifar_models.checkpoint import load_checkpoint
from cifar_models.errors import InputError
from training.recipes import RECIPES
from training.run import EpochMetrics, Run
from training.trainer import Trainer
from training.world import World

EPOCHS = 4
# 160 steps an epoch, so that a signal after an epoch's line arrives inside another one.
SMALL = ("--model", "lenet", "--device", "cpu", "--batch-size", "2", "--validation", "0.2")
RECIPE = ("training.fit", *SMALL, "--epochs", str(EPOCHS))
DISK = 600  # blocks of 512 bytes: room for the events of an epoch, not for a checkpoint
SIGNALS = [signal.SIGTERM, signal.SIGINT]
# As much as the imports take and 100 MB more; the network alone takes 228 MB.
SHORT_OF_MEMORY = """
import resource
from pathlib import Path
from cifar_models.command import run_command
from training import fit

taken = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (taken + 100_000_000,) * 2)
run_command(fit.main)
"""


@dataclass(frozen=True)
class Ended:
    """A command that a signal stopped after its first epoch."""

    folder: Path
    exit_code: int
    errors: str


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    command(*RECIPE, "--data", tiny_data, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def stopped(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[signal.Signals, Ended]:
    """The same run, stopped inside an epoch by each of the signals."""
    folder = tmp_path_factory.mktemp("runs")
    return {number: stop_inside_an_epoch(folder / number.name, tiny_data, number) for number in SIGNALS}


def stop_inside_an_epoch(folder: Path, data: Path, number: signal.Signals) -> Ended:
    """A signal that came between two epochs, as may be on a busy machine, is sent again to the run that went on."""
    line: tuple[str | Path, ...] = (*RECIPE, "--data", data, "--out", folder)
    while True:
        process = start(*line)
        wait_for_an_epoch(process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        if load_checkpoint(folder / "last.pt").training_state["step"]:
            return Ended(folder, process.returncode, errors)
        line = (*line, "--resume")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_inside_an_epoch_saves_the_run_and_says_how_it_goes_on(
    stopped: dict[signal.Signals, Ended], number: signal.Signals
) -> None:
    ended = stopped[number]
    assert ended.exit_code == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    (line,) = ended.errors.split("\n\n")[-1].strip().splitlines()
    assert "--resume" in line
    saved = load_checkpoint(ended.folder / "last.pt")
    assert 1 <= saved.epoch < EPOCHS
    assert 0 < saved.training_state["step"] < 160
    assert saved.training_state["epoch"] == saved.epoch == len(saved.history)
    assert len(saved.training_state["losses"]) == saved.training_state["step"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_a_signal_stopped_ends_as_if_it_had_not_been_stopped(
    stopped: dict[signal.Signals, Ended], whole: Path, tiny_data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = shutil.copytree(stopped[number].folder, tmp_path / "run")
    command(*RECIPE, "--resume", "--data", tiny_data, "--out", folder, **OWN_PROCESS)
    assert_same(load_checkpoint(folder / "last.pt"), load_checkpoint(whole / "last.pt"))
    assert_same(load_checkpoint(folder / "best.pt"), load_checkpoint(whole / "best.pt"))


def test_a_run_folder_in_use_is_refused_and_the_run_in_it_goes_on(tiny_data: Path, tmp_path: Path) -> None:
    line = ("training.fit", *SMALL, "--epochs", "1000", "--data", tiny_data, "--out", tmp_path / "run")
    with start(*line) as process:
        wait_for_an_epoch(process)
        done = command(*line, "--resume", check=False)
        wait_for_an_epoch(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    (error,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert f"{tmp_path / 'run'} is in use" in error


def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(
    stopped: dict[signal.Signals, Ended], tiny_data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(stopped[signal.SIGTERM].folder, tmp_path / "run")
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
    line = ("training.fit", "seed002-alexnet", "--device", "cpu", "--batch-size", "160", "--validation", "0.2")
    done = limited("-d 2000000", *line, "--data", tiny_data, "--out", tmp_path / "run")
    (error,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert error == "error: cpu has no memory for batches of 160; try --batch-size 80, with half the learning rate."
    assert not (tmp_path / "run" / "last.pt").exists()


def test_too_little_memory_for_the_network_says_what_to_try(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "short_of_memory.py").write_text(SHORT_OF_MEMORY)
    line = ("seed002-alexnet", "--device", "cpu", "--data", tiny_data, "--out", tmp_path / "run")
    done = command("short_of_memory", *line, check=False, PYTHONPATH=str(tmp_path), OMP_NUM_THREADS="1")
    (error,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert re.fullmatch(r"error: cpu has no memory for the images and alexnet_224; .*--device.*", error)


def start(*arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_an_epoch(process: "subprocess.Popen[str]") -> None:
    assert any(line.startswith("epoch ") for line in process.stdout or ())


def on_a_full_disk(blocks: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command where no file can grow beyond so many blocks of 512 bytes."""
    return limited(f"-f {blocks}", *arguments)


def limited(limit: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command under a limit of the shell's ulimit."""
    return subprocess.run(
        ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        # Each thread takes memory of its own, so their number is fixed.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
