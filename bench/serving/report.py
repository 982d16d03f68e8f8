"""A run of python -m bench.serving as one value, written as JSON and read again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.serving.overload import Open
from bench.serving.rounds import Round
from bench.serving.sweep import Sweep
from cifar_models.atomic import replacing
from cifar_models.errors import InputError


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, on what and how; a part that was not asked for is empty."""

    machine: dict[str, Any]
    options: dict[str, Any]  # of the command
    rounds: list[Round]
    open: Open | None
    sweep: Sweep | None


_JSON = TypeAdapter(Report)


def write_report(report: Report, path: Path) -> None:
    with replacing(path) as partial:
        partial.write_bytes(_JSON.dump_json(report, indent=2) + b"\n")


def read_report(path: Path) -> Report:
    """Raises InputError when it is not such a file."""
    try:
        return _JSON.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path} is no report of `python -m bench.serving`; measure it again with --json.") from error
