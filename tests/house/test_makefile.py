"""What `make` would do, by make itself; tests/docs/test_docs.py holds to it what the documents say of it."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.mark.parametrize("run", ["runs/lenet", "runs/lenet/"])  # a shell completes the slash
def test_the_bundle_is_named_as_its_run_however_that_is_written(run: str) -> None:
    words = planned("--assume-old", ".venv/.full", "export", f"RUN={run}").split()
    assert words[words.index("--out") + 1] == "models/lenet"


@pytest.mark.parametrize("has_gpu", [True, False])
@pytest.mark.parametrize("target", ["serve", "install"])
def test_the_libraries_of_a_gpu_that_came_later_are_installed(tmp_path: Path, target: str, has_gpu: bool) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nexit {int(not has_gpu)}\n")
    tool.chmod(0o755)
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    for made in ("bin/python", ".serve", ".full"):
        (venv / made).touch()
    said = planned(target, f"VENV={venv}", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ("--requirement requirements/gpu.txt" in said) == has_gpu
    assert "serve.txt" not in said
    assert "full.txt" not in said


def planned(*arguments: str, **environment: str) -> str:
    """What make would run."""
    return subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
