"""Examples that ask a server, run as they are written but for its address, and what is shown as its answer."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conftest import ROOT, skip_unless_required
from documents import Block

from cifar_models.bundle import read_manifest

WRITTEN_ADDRESS = re.compile(r"http://(?:localhost|127\.0\.0\.1):3000")
COMMANDS = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "--eval"],
}


def asks_server(block: Block) -> bool:
    return WRITTEN_ADDRESS.search(block.code) is not None and block.language in COMMANDS


def run(block: Block, url: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """What the example writes, run in the project's folder against the server at this address."""
    command = COMMANDS[block.language]
    if shutil.which(command[0]) is None:
        skip_unless_required(f"needs {command[0]}: install it to run the {block.language} examples")
    done = subprocess.run(
        [*command, WRITTEN_ADDRESS.sub(url, block.code)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


def check_answer(written: str, answer: Block, models: Path) -> None:
    """Fails when what a command wrote is not what is shown; an object may differ in what depends on the machine."""
    if answer.language == "json":
        labels = {label for path in models.glob("*/manifest.json") for label in read_manifest(path.parent).labels}
        assert outline(json.loads(written), labels) == outline(json.loads(answer.code), labels)
    else:
        missing = set(answer.code.splitlines()) - set(written.splitlines())
        assert not missing, f"{answer}: {missing} is shown, and was not written:\n{written}"


def outline(value: Any, labels: set[str]) -> Any:
    """What an answer consists of, without the numbers that depend on the machine."""
    if isinstance(value, dict):
        if set(value) <= labels:
            return len(value)  # which labels are second and third best is not the same in int8 and float32
        return {name: outline(each, labels) for name, each in value.items() if name not in ("version", "engine")}
    if isinstance(value, list):
        return [outline(each, labels) for each in value]
    return float if isinstance(value, float) else value


def check_listing(block: Block, root: Path) -> None:
    """Fails when a path that a listing has is not there: every word with a slash that could be one."""
    paths = re.findall(r"(?<!\S)[\w.*-]+/[\w./*-]*", block.code)
    assert paths, f"{block} lists no path"
    for path in paths:
        assert any(root.glob(path.rstrip("/"))), f"{block}: {path}"
