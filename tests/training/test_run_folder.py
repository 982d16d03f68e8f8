"""A run's folder: who holds it while it is trained in, and what is removed there."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_models.errors import InputError
from training.run import locked


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A filesystem whose locks fail with the test's error."""

    def flock(*_: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize(
    "failing", [errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK], indirect=True, ids=str
)
@pytest.mark.usefixtures("failing")
def test_a_filesystem_without_locks_can_be_trained_on(tmp_path: Path) -> None:
    """And nothing that another process, on another machine, may be writing is removed."""
    writing = tmp_path / f".last.pt.{os.getpid()}.partial"
    writing.touch()
    with locked(tmp_path):
        assert writing.exists()


@pytest.mark.parametrize("failing", [errno.EIO], indirect=True, ids=str)
@pytest.mark.usefixtures("failing")
def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    refused = pytest.raises(InputError, match=r"run cannot be locked \(Input/output error\); .*--out\.")
    with refused, locked(tmp_path / "run"):
        pass


def test_what_killed_processes_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    (tmp_path / "tensorboard").mkdir()
    left = [
        f".last.pt.{gone.pid}.partial",
        f"tensorboard/.events.out.tfevents.00001.{gone.pid}.partial",
        f".best.pt.{os.getpid()}.partial",  # in a container, each process may have the same number
    ]
    others = {f".report.json.{os.getppid()}.partial", "last.pt", f"last.pt.{gone.pid}.partial", ".notes.partial"}
    for name in (*left, *others):
        (tmp_path / name).touch()
    with locked(tmp_path):
        assert {path.name for path in tmp_path.rglob("*")} == {"tensorboard", *others}
