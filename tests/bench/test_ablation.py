"""`python -m bench.ablation`: a call that was stopped goes on where it was."""

import shutil
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from bench.ablation import train


@pytest.mark.parametrize("checkpoint", ["last.pt", "best.pt"])
def test_a_run_goes_on_from_whichever_checkpoint_there_is(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: str
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        asked.append(command)
        shutil.copy(tiny_run / "metrics.jsonl", tmp_path)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    options = Namespace(model="lenet", epochs=1, data=Path("data"))
    train(options, tmp_path, [])
    (tmp_path / checkpoint).touch()
    train(options, tmp_path, [])
    assert ["--resume" in command for command in asked] == [False, True]
