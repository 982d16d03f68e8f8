"""Two processes on one CPU, as torchrun starts them, come to what one process comes to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, command
from torch.testing import assert_close

from cifar_models.checkpoint import Checkpoint, load_checkpoint

EPOCHS = 3
# 80 steps an epoch, so that a process that dies after the first epoch's line dies inside another epoch.
SMALL = ("--model", "lenet", "--precision", "fp32", "--optimizer", "sgd", "--device", "cpu", "--lr", "0.005")
RECIPE = ("training.fit", *SMALL, "--epochs", str(EPOCHS), "--validation", "0.2", "--batch-size")
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def alone(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    command(*RECIPE, "4", "--data", tiny_data, "--out", folder)
    return folder


def test_two_processes_come_to_what_one_comes_to(alone: Path, tiny_data: Path, tmp_path: Path) -> None:
    done = command(*TORCHRUN, *RECIPE, "4", "--data", tiny_data, "--out", tmp_path / "run")
    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert len(lines) == EPOCHS  # of the first process only
    assert_close_runs(load_checkpoint(tmp_path / "run" / "last.pt"), load_checkpoint(alone / "last.pt"))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_that_lost_a_process_ends_as_if_it_had_not(
    alone: Path, tiny_data: Path, tmp_path: Path, rank: int
) -> None:
    line = (*TORCHRUN, *RECIPE, "4", "--data", tiny_data, "--out", tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, line)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as launcher:
        assert any(output.startswith("epoch   1 ") for output in launcher.stdout or ())
        os.kill(worker_of(launcher.pid, rank), signal.SIGKILL)
        assert launcher.wait(timeout=60) != 0
    assert 1 <= load_checkpoint(tmp_path / "run" / "last.pt").epoch < EPOCHS
    command(*line, "--resume")
    assert_close_runs(load_checkpoint(tmp_path / "run" / "last.pt"), load_checkpoint(alone / "last.pt"))


def test_a_signal_to_one_process_stops_all_inside_the_epoch(alone: Path, tiny_data: Path, tmp_path: Path) -> None:
    line = (*TORCHRUN, *RECIPE, "4", "--data", tiny_data, "--out", tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, line)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as launcher:
        assert any(output.startswith("epoch   1 ") for output in launcher.stdout or ())
        os.kill(worker_of(launcher.pid, 1), signal.SIGTERM)
        _, errors = launcher.communicate(timeout=60)
    assert errors.count("Stopped, and saved at step") == 1
    assert load_checkpoint(tmp_path / "run" / "last.pt").training_state["step"] == 50
    command(*line, "--resume")
    assert_close_runs(load_checkpoint(tmp_path / "run" / "last.pt"), load_checkpoint(alone / "last.pt"))


def test_a_batch_that_two_processes_cannot_share_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    done = command(*TORCHRUN, *RECIPE, "3", "--data", tiny_data, "--out", tmp_path / "run", check=False)
    assert done.returncode != 0
    assert "error: batch_size is 3, which 2 processes cannot share equally." in done.stderr
    assert not (tmp_path / "run").exists()


def worker_of(launcher: int, rank: int) -> int:
    """The process that torchrun started as this rank."""
    threads = Path(f"/proc/{launcher}/task").iterdir()
    children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    ranks = {child: f"RANK={rank}".encode() in environment_of(child) for child in children}
    (worker,) = (child for child, is_asked in ranks.items() if is_asked)
    return worker


def environment_of(process: int) -> list[bytes]:
    return Path(f"/proc/{process}/environ").read_bytes().split(b"\0")


def assert_close_runs(one: Checkpoint, other: Checkpoint) -> None:
    """Within the rounding of sums in another order; seconds apart."""
    assert_close(one.weights, other.weights, rtol=TOLERANCE, atol=TOLERANCE)
    for left, right in zip(one.history, other.history, strict=True):
        assert {**left, "seconds": 0} == pytest.approx({**right, "seconds": 0}, rel=TOLERANCE, abs=TOLERANCE)
