"""Two processes on one CPU, as torchrun starts them, come to what one process comes to."""

import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import signalled
import torch
import torch.nn.functional as F
from conftest import ROOT, command
from small_runs import few_images
from torch import Tensor, nn
from torch.testing import assert_close

from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.errors import InputError
from training.fit import pick_device
from training.recipes import RECIPES
from training.run import locked
from training.stop import StopRequest, StopVote
from training.trainer import Trainer
from training.world import World, join_world

EPOCHS, BATCH = 5, "2"
# 80 steps an epoch, so that a process that dies after the first epoch's line dies inside another epoch.
SMALL = (
    "--model",
    "lenet",
    "--precision",
    "fp32",
    "--optimizer",
    "sgd",
    "--device",
    "cpu",
    "--lr",
    "0.001",
    "--cutmix",
    "0.5",
)
RECIPE = ("training.fit", *SMALL, "--epochs", str(EPOCHS), "--validation", "0.2", "--batch-size")
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
FORKS = (*TORCHRUN, "--start-method", "fork", "--run-path")  # processes that need not load torch again
FIT = ROOT / "training" / "fit.py"
TOLERANCE = 1e-5
LAST_THREADS = """
import atexit
import sys
from contextlib import suppress
from pathlib import Path
from cifar_models.command import run_command
from training import fit
from training.world import World

def tell(when):
    names = set()
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has just ended
            names.add(path.read_text().strip())
    sys.stderr.write(f"{when}: {sorted(name for name in names if 'gloo' in name)}\\n")

def leave(world, parts=World.leave):
    tell("before")
    parts(world)

World.leave = leave
atexit.register(tell, "after")
run_command(fit.main)
"""
TURNS = """
import sys
import torch
from training.world import join_world

world = join_world(torch.device("cpu"))
for turn in range(20):
    with world.first_alone():
        sys.stdout.write(f"{turn}:{world.rank}\\n")
        sys.stdout.flush()
    world.any(False)
world.leave()
"""

ONE_LOOKS = """
import math
import os
from cifar_models.command import run_command
from training import fit, loop

class Diverged(loop.Diverged):
    def __init__(self, words):
        super().__init__(f"Process {os.environ['RANK']} says: {words}")

loop.Diverged = Diverged
loop._LOOK_SECONDS = -1 if os.environ["RANK"] == "1" else math.inf
run_command(fit.main)
"""


@pytest.fixture(scope="module")
def alone(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    command(*RECIPE, BATCH, "--data", tiny_data, "--out", folder)
    return folder


def test_two_processes_come_to_what_one_comes_to(alone: Path, tiny_data: Path, tmp_path: Path) -> None:
    done = telling_of_threads(tmp_path, *RECIPE[1:], BATCH, "--data", tiny_data, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert len(lines) == EPOCHS  # of the first process only
    assert_close_runs(load_checkpoint(tmp_path / "run" / "last.pt"), load_checkpoint(alone / "last.pt"))


def test_what_the_first_process_refuses_is_said_once(tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder):  # which is seen when the model is there already
        done = command(*FORKS, FIT, *RECIPE[1:], BATCH, "--data", tiny_data, "--out", folder, check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line == f"error: {folder} is in use by another training process; name another folder with --out."
    assert "[rank" not in done.stderr  # so begin the lines of a process's traceback; torchrun has one of its own
    assert failed(done) == {0}


def telling_of_threads(folder: Path, *options: str | Path) -> "subprocess.CompletedProcess[str]":
    """Train in two processes, whose threads that talk to each other must end before them.

    One that is giving back a tensor while the interpreter ends aborts the process, now and then.
    """
    script = folder / "last_threads.py"
    script.write_text(LAST_THREADS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # of the processes, which are to end as a user's do: not forked ones
        done = command(*TORCHRUN, script, *options, check=False)
    told = [each for each in done.stderr.splitlines() if each.startswith(("before: ", "after: "))]
    assert sorted(told) == ["after: []"] * 2 + ["before: ['gloo_tcp_loop', 'pt_gloo_runloop']"] * 2, done.stderr
    return done


def test_what_another_process_sees_diverge_the_first_one_says_for_all(tiny_data: Path, tmp_path: Path) -> None:
    script = tmp_path / "one_looks.py"
    script.write_text(ONE_LOOKS)
    options = (*RECIPE[1:], BATCH, "--lr", "1e30", "--data", tiny_data, "--out", tmp_path / "run")
    done = command(*FORKS, script, *options, check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: Process 0 says: The loss is nan at step 2 of epoch 1: ")
    assert failed(done) == {0}


def failed(done: "subprocess.CompletedProcess[str]") -> set[int]:
    """The ranks that torchrun reports with an error of their own: at the first one it ends all that still run."""
    reports = re.findall(r"^  rank +: (\d+) .*\n  exitcode +: (-?\d+) ", done.stderr, re.MULTILINE)
    return {int(rank) for rank, code in reports if int(code) > 0}


def test_who_is_told_that_another_process_refuses_ends_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one, torchrun might end the first process before it has spoken."""

    def broadcast(outcomes: list[object], src: int) -> None:
        outcomes[1] = InputError("The first one says why.")

    monkeypatch.setattr("torch.distributed.broadcast_object_list", broadcast)
    with pytest.raises(SystemExit) as ended:
        World(rank=1, size=2).first(lambda: None)
    assert ended.value.code == 0


@pytest.mark.parametrize("has_diverged", [False, True])
def test_a_process_ends_only_when_the_vote_of_all_says_so(monkeypatch: pytest.MonkeyPatch, has_diverged: bool) -> None:
    votes: list[list[float]] = []
    shares = iter([0.0, 0.5])  # of the processes, that have to end

    def means(_: World, values: list[float]) -> list[float]:
        votes.append(values)
        return [next(shares), 1.0]

    monkeypatch.setattr(World, "means", means)
    vote = StopVote(StopRequest(), World(size=2))
    assert [vote.passes(has_diverged) for _ in range(2)] == [False, True]
    assert [asked for asked, _ in votes] == [has_diverged] * 2


@pytest.mark.parametrize(
    ("name", "words"), [("cuda:0", "would be that of all 2 processes"), (None, "There is no cuda:1: torch sees 1")]
)
def test_a_device_that_the_processes_cannot_share_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str | None, words: str
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=words):
        pick_device(name)


def test_the_device_of_a_process_is_the_one_that_torch_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    device = torch.device("cuda:1")
    assert join_world(device) == World(device=device)
    assert taken == [device]


def test_all_processes_stop_early_together(tiny_data: Path, tmp_path: Path) -> None:
    standing = ("--lr", "0", "--early-stop", "1", "--epochs", "20")  # the second epoch is no better than the first
    command(*FORKS, FIT, *RECIPE[1:], "20", *standing, "--data", tiny_data, "--out", tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 2


def test_a_run_that_was_stopped_and_lost_each_process_in_turn_ends_as_if_it_had_not(
    alone: Path, tiny_data: Path, tmp_path: Path
) -> None:
    last = tmp_path / "run" / "last.pt"
    line = (*RECIPE[1:], BATCH, "--data", tiny_data, "--out", tmp_path / "run")
    done = stopped(signal.SIGTERM, 1, 5, *line)
    saved = load_checkpoint(last)
    assert (saved.epoch, 5 <= saved.training_state["step"] <= 15) == (0, True)  # all stop within a few steps
    assert done.stderr.count(f"Stopped, and saved at step {saved.training_state['step']} of epoch 1.") == 1
    for epoch, rank in ((1, 0), (2, 1)):
        stopped(signal.SIGKILL, rank, 90, *line, "--resume")  # in the next epoch
        assert load_checkpoint(last).epoch == epoch
    command(*FORKS, FIT, *line, "--resume")
    assert_close_runs(load_checkpoint(last), load_checkpoint(alone / "last.pt"))


def stopped(number: signal.Signals, rank: int, steps: int, *line: str | Path) -> "subprocess.CompletedProcess[str]":
    """Train in two processes, one of which gets a signal after so many steps of 80 in an epoch."""
    done = command(*FORKS, signalled.__file__, f"{number.value}", f"{steps}", f"{rank}", *line, check=False)
    assert done.returncode != 0
    return done


def test_one_process_reads_the_data_before_the_others_do(tmp_path: Path) -> None:
    """What the first one downloads, another must not download into the same folder at the same time."""
    script = tmp_path / "turns.py"
    script.write_text(TURNS)
    done = command(*FORKS, script)
    assert done.stdout.split() == [f"{turn}:{rank}" for turn in range(20) for rank in (0, 1)]


def test_a_batch_that_two_processes_cannot_share_is_refused() -> None:
    data, recipe = few_images(2, seed=1), replace(RECIPES["seed001"], batch_size=3)
    with pytest.raises(InputError, match=r"batch_size is 3, which 2 processes cannot share equally; give"):
        Trainer(recipe, data, data, torch.device("cpu"), World(rank=1, size=2))


def test_each_process_drops_out_what_it_draws_itself_and_again_when_it_goes_on() -> None:
    masks = [dropped(rank, steps_before) for rank, steps_before in ((0, 0), (1, 0), (0, 1))]
    assert not torch.equal(masks[0][0], masks[0][1])  # each step's own
    assert not torch.equal(masks[0][0], masks[1][0])  # each process's own
    assert torch.equal(masks[0][1], masks[2][0])


def dropped(rank: int, steps_before: int) -> list[Tensor]:
    """What dropout leaves of ones in every step that a process has left after so many; float32 [batch, 64]."""
    data = few_images(2, seed=1)
    recipe = replace(RECIPES["seed001"], batch_size=5)
    trainer = Trainer(recipe, data, data, torch.device("cpu"), World(rank=rank))
    trainer.step = steps_before
    trainer.network = trainer.model.network = Dropping()
    torch.rand(1 + rank)  # whatever else was drawn before has no say
    list(zip(trainer.train_epoch(), range(2), strict=False))
    return trainer.network.kept


class Dropping(nn.Module):
    """A network that keeps what its dropout left."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.kept.append(F.dropout(torch.ones(len(x), 64, device=x.device), 0.5, training=self.training))
        logits: Tensor = self.head(self.kept[-1])
        return logits


def assert_close_runs(one: Checkpoint, other: Checkpoint) -> None:
    """Within the rounding of sums in another order; seconds apart."""
    assert_close(one.weights, other.weights, rtol=TOLERANCE, atol=TOLERANCE)
    for left, right in zip(one.history, other.history, strict=True):
        assert {**left, "seconds": 0} == pytest.approx({**right, "seconds": 0}, rel=TOLERANCE, abs=TOLERANCE)
