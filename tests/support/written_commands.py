"""Commands as they are written in documents, held to the programs that they would run: nothing is run but a parser."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
from conftest import ROOT
from torch.distributed.run import get_args_parser

from cifar_models.command import Parser
from serving.settings import Settings

OUR_VARIABLES = {f"CIFAR_{name}".upper() for name in Settings.model_fields} | {"CIFAR_SETTINGS", "CIFAR_DATA"}
ANY_VARIABLE = "CIFAR_NAME"  # what a text calls one of ours
OTHER_VARIABLES = {"BENTOML_DO_NOT_TRACK", "BENTOML_HOME", "OMP_NUM_THREADS", "PYTHONPATH"}
_PLACEHOLDER = re.compile(r"…|<\w+>|\b[A-Z]{3,}\b(?!=)")  # a word that the reader replaces: --model NAME
_NO_PARSER = {"bench.observing"}  # takes no option
_SPLIT = {"&&", "||", "|", ";", "(", ")"}


class Seen(BaseException):
    """A command has come to its parser; no `except Exception` of it shall go on."""

    def __init__(self, parser: Parser) -> None:
        self.parser = parser


def commands(code: str) -> Iterator[list[str]]:
    """The simple commands of a shell's text, as words; comments are left out."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if word in _SPLIT:
                yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def check_command(words: list[str], root: Path = ROOT) -> None:
    """Fails when the command could not begin: an unknown program, option, choice, target, variable or file."""
    words = check_files(words, root)
    while words and (assigned := re.match(r"(\w+)=", words[0])):
        check_variable(assigned[1])
        words = words[1:]
    if words:
        program, *arguments = words
        name = Path(program).name
        assert name in PROGRAMS, f"{program} is no program that this test knows how to check; teach it in PROGRAMS"
        PROGRAMS[name](arguments, root)


def check_files(words: list[str], root: Path) -> list[str]:
    """The words without what is read from or written to a file."""
    if "<" in words:
        place = words.index("<")
        assert (root / words[place + 1]).is_file(), words[place + 1]
        words = words[:place] + words[place + 2 :]
    return words[: words.index(">")] if ">" in words else words


def check_variable(name: str) -> None:
    assert name in OUR_VARIABLES | OTHER_VARIABLES | {ANY_VARIABLE}, f"{name} is no variable that anything reads"


def check_python(arguments: list[str], root: Path) -> None:
    if arguments[0] != "-m":
        assert (root / arguments[0]).is_file(), arguments[0]
        return
    _, module, *options = arguments
    if module in ("pytest", "bentoml", "pip"):
        return
    parser = find_parser(module)
    if parser is None:
        assert not options, f"python -m {module} takes no option"
    elif _PLACEHOLDER.search(" ".join(options)):
        known = {name for action in parser._actions for name in action.option_strings}
        unknown = {option.partition("=")[0] for option in options if option.startswith("--")} - known
        assert not unknown, f"python -m {module} has no option {unknown}"
    elif options and "--help" not in options:  # without any, a text names the program
        parser.parse_args(options)  # raises InputError


def find_parser(module: str) -> Parser | None:
    """The parser of `python -m module`."""
    assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file() or (ROOT / module.replace(".", "/")).is_dir()
    if module in _NO_PARSER:
        return None

    def stop(parser: Parser, *_: object) -> NoReturn:
        raise Seen(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "parse_args", stop)
        patch.setattr(sys, "argv", [module])
        name = f"{module}.__main__" if (ROOT / module.replace(".", "/")).is_dir() else module
        with pytest.raises(Seen) as seen:
            importlib.import_module(name).main()
    return seen.value.parser


def check_torchrun(arguments: list[str], root: Path) -> None:
    options = get_args_parser().parse_args(arguments)
    assert options.module
    check_python(["-m", options.training_script, *options.training_script_args], root)


def check_make(arguments: list[str], root: Path) -> None:
    """What make would do, by make itself; then each of these commands."""
    stamps = [word for name in ("serve", "full", "bench") for word in ("--assume-old", f".venv/.{name}")]
    done = subprocess.run(
        ["make", "--dry-run", *stamps, "BIN=.venv/bin", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for words in commands("\n".join(line for line in done.stdout.splitlines() if not line.startswith("make"))):
        if words[0].startswith(".venv/bin/"):
            check_command(words, root)


def check_bentoml(arguments: list[str], _: Path) -> None:
    ask_bentoml(tuple(arguments))


@cache
def ask_bentoml(arguments: tuple[str, ...]) -> None:
    """In a process of its own: what it imports warns of what it does itself."""
    command = [sys.executable, "-m", "bentoml", *arguments, "--help"]  # the others are parsed before this one acts
    done = subprocess.run(
        command, env={**os.environ, "BENTOML_DO_NOT_TRACK": "True"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def check_container(arguments: list[str], root: Path) -> None:
    """No container engine is at hand: that the files are there is all that can be seen."""
    for word in arguments:
        assert not word.startswith("deploy/") or (root / word).is_file(), word


def check_source(arguments: list[str], _: Path) -> None:
    assert arguments == [".venv/bin/activate"]


def check_export(arguments: list[str], _: Path) -> None:
    for word in arguments:
        check_variable(word.partition("=")[0])


def check_time(arguments: list[str], root: Path) -> None:
    check_command([word for word in arguments if word != "-v"], root)


PROGRAMS: dict[str, Callable[[list[str], Path], Any]] = {
    "python": check_python,
    "torchrun": check_torchrun,
    "make": check_make,
    "bentoml": check_bentoml,
    "docker": check_container,
    "kubectl": check_container,
    "source": check_source,
    "export": check_export,
    "time": check_time,
    **dict.fromkeys(("ruff", "mypy", "uv"), lambda *_: None),  # of the Makefile; no document gives them options
}
