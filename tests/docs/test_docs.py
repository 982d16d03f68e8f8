"""Every block and every command in README.md and docs/ is followed, run, or held to the parser of its program."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MODELS, ROOT, ServerProcess
from documents import ANSWERS, BLOCKS, DOCUMENTS, Block, prose, spans
from examples import asks_server, check_answer, check_listing, run
from walks import WALKED
from written_commands import check_command, check_variable, commands


def check_shell(block: Block) -> None:
    """Commands that would take hours, install, or need a container: each could begin as it is written."""
    found = list(commands(block.code))
    assert found
    for words in found:
        check_command(words)


def check_python(block: Block) -> None:
    """It runs, in a process of its own."""
    assert run(block, "").strip()


def check_json(block: Block) -> None:
    """An object that is shown for itself; those that a command answers with are compared with its answer."""
    assert json.loads(block.code)


def check_query(block: Block) -> None:
    """tests/serving/http/test_queries.py asks a server for all that it names."""
    assert re.search(r"\bcifar_\w+", block.code)


# What is done with a block that asks no server, by its language; one of another language fails.
CHECKS: dict[str, Callable[[Block], None]] = {
    "sh": check_shell,
    "python": check_python,
    "json": check_json,
    "promql": check_query,
    "text": lambda block: check_listing(block, ROOT),
}
REST = [block for block in BLOCKS if block not in WALKED and block not in ANSWERS.values()]

# Code within the text that is a command, perhaps after variables.
COMMAND = re.compile(r"([A-Z_]+=\S+ )*(python|make|bentoml|torchrun|docker|kubectl) \S")


@pytest.mark.parametrize("block", [block for block in REST if asks_server(block)], ids=str)
def test_an_example_that_asks_a_server_runs_as_it_is_written(server: ServerProcess, block: Block) -> None:
    written = run(block, server.url)
    assert written.strip()
    if block in ANSWERS:
        check_answer(written, ANSWERS[block], MODELS)
    elif block.language == "sh":
        assert "error" not in json.loads(written)  # curl is content with one


@pytest.mark.parametrize("block", [block for block in REST if not asks_server(block)], ids=str)
def test_any_other_block_holds_to_what_it_names(block: Block) -> None:
    assert block.language in CHECKS, f"{block}: no test knows what to do with {block.language!r}; name its language"
    assert block not in ANSWERS, f"{block}: what it shows cannot be compared, as it is not run; follow it in walks.py"
    CHECKS[block.language](block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_text_names_is_there(document: Path) -> None:
    for span in spans(document):
        if COMMAND.match(span):
            for words in commands(span):
                check_command(words)
        for name in re.findall(r"^(CIFAR_\w+)", span):
            check_variable(name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_code_stands_between_fences(document: Path) -> None:
    """Markdown takes what is indented by four for code too; such a block would be missed here."""
    assert not re.search(r"\n\n    \S", prose(document))
