"""The file that a command leaves its figures in: looked at before anything is measured, written, and read again."""

import argparse
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from cifar_models.atomic import saving
from cifar_models.errors import InputError

T = TypeVar("T")


def output(text: str) -> Path:
    """A file that can be written: the type of an option, so that nobody measures for minutes what cannot be kept."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written ({error.strerror}); name another file") from error


def write_figures(figures: object, path: Path) -> None:
    """As JSON; `figures` is a dataclass or a dict. Raises InputError when `path` cannot be written."""
    with saving(path) as partial:
        partial.write_bytes(TypeAdapter(type(figures)).dump_json(figures, indent=2) + b"\n")


def read_figures(kind: type[T], path: Path, command: str) -> T:
    """Raises InputError when it is no file that `python -m COMMAND` wrote."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path} is no report of `python -m {command}`; measure it again with --json.") from error
