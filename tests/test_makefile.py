"""What `make` would do, by make itself; tests/test_docs.py holds to it what the documents say of it."""

import os
import subprocess

import pytest
from conftest import ROOT


@pytest.mark.parametrize("run", ["runs/lenet", "runs/lenet/"])  # a shell completes the slash
def test_the_bundle_is_named_as_its_run_however_that_is_written(run: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--assume-old", ".venv/.full", "export", f"RUN={run}"],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split()
    assert words[words.index("--out") + 1] == "models/lenet"
