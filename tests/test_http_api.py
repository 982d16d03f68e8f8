"""Every example of docs/http-api.md works as it is written, and its tables say what the code does."""

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from bodies import LABELS
from conftest import ROOT, ServerProcess

from serving import errors
from serving.settings import Settings

TEXT = (ROOT / "docs" / "http-api.md").read_text()
WRITTEN_ADDRESS = "http://127.0.0.1:3000"
COMMANDS = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "--eval"],
}


class Block(NamedTuple):
    """One example."""

    line: int
    language: str
    code: str


def read_blocks() -> list[Block]:
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [Block(TEXT.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in found]


BLOCKS = read_blocks()
ANSWERS = [(question, answer) for question, answer in pairwise(BLOCKS) if answer.language == "json"]


def run(block: Block, server: ServerProcess) -> str:
    """What the example writes, run in the project's folder against this server."""
    command = COMMANDS[block.language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}: install it to run the {block.language} examples")
    code = block.code.replace(WRITTEN_ADDRESS, server.url)
    assert WRITTEN_ADDRESS in block.code, "an example that asks nobody"
    done = subprocess.run([*command, code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def name(block: Block) -> str:
    return f"{block.language}-at-line-{block.line}"


def outline(value: Any) -> Any:
    """What an answer consists of, without the numbers that depend on the machine."""
    if isinstance(value, dict):
        if set(value) <= set(LABELS):
            return len(value)  # which labels are second and third best is not the same in int8 and float32
        return {name: outline(each) for name, each in value.items() if name not in ("version", "engine")}
    if isinstance(value, list):
        return [outline(each) for each in value]
    return float if isinstance(value, float) else value


def test_the_examples_are_found() -> None:
    languages = {block.language for block in BLOCKS}
    assert languages == {*COMMANDS, "json"}
    assert len(ANSWERS) == sum(block.language == "json" for block in BLOCKS)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language != "json"], ids=name)
def test_an_example_runs_as_it_is_written(server: ServerProcess, block: Block) -> None:
    output = run(block, server)
    assert output.strip()
    if block.language == "sh":
        assert json.loads(output)  # curl is content with an error too
        assert "error" not in json.loads(output) or block in [question for question, _ in ANSWERS]


@pytest.mark.parametrize(("question", "answer"), ANSWERS, ids=name)
def test_an_answer_that_is_shown_is_what_comes(server: ServerProcess, question: Block, answer: Block) -> None:
    assert outline(json.loads(run(question, server))) == outline(json.loads(answer.code))


def test_every_refusal_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", TEXT, re.MULTILINE))
    assert rows == {(str(refusal.status), refusal.code) for refusal in errors.Refusal.__subclasses__()}


def test_the_limits_are_those_of_the_settings() -> None:
    written = dict(re.findall(r"^\| [^|]+ \| ([\d,]+) \| `CIFAR_(\w+)` \|", TEXT, re.MULTILINE))
    assert len(written) == 4
    for value, name in written.items():
        assert float(value.replace(",", "")) == getattr(Settings(), name.lower())
    assert f"{Settings().max_queue:,} images may wait" in TEXT
