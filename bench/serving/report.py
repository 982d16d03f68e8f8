"""A run of python -m bench.serving as one value."""

from dataclasses import dataclass
from typing import Any

from bench.serving.overload import Open
from bench.serving.rounds import Round
from bench.serving.sweep import Sweep


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, on what and how; a part that was not asked for is empty."""

    machine: dict[str, Any]
    options: dict[str, Any]  # of the command
    rounds: list[Round]
    open: Open | None
    sweep: Sweep | None
