"""What the steps found, kept from call to call as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cifar_models.atomic import saving
from cifar_models.errors import InputError

Status = Literal["done", "partly", "not run"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step measured, and what it could not and why."""

    figures: dict[str, Any]
    missing: Sequence[str] = ()

    @property
    def status(self) -> Status:
        if not self.missing:
            return "done"
        return "partly" if self.figures else "not run"


@dataclass(frozen=True, slots=True)
class Record:
    """An outcome, and when, on what and from what it came."""

    status: Status
    figures: dict[str, Any]
    missing: list[str]
    inputs: dict[str, Any]  # a step whose inputs are the same is not done again
    seconds: float
    machine: dict[str, Any]


@dataclass(slots=True)
class Report:
    """The records of all steps that were tried, on one kind of device."""

    device: str  # cuda or cpu
    miniature: bool
    steps: dict[str, Record] = field(default_factory=dict)

    def is_done(self, step: str, inputs: dict[str, Any]) -> bool:
        record = self.steps.get(step)
        return record is not None and record.status == "done" and record.inputs == inputs

    def add(self, step: str, record: Record) -> None:
        """Keep it; of one that is empty, beside the figures of an earlier call, only what is missing now."""
        before = self.steps.get(step)
        if record.figures or before is None or not before.figures:
            self.steps[step] = record
        else:
            self.steps[step] = replace(before, status="partly", missing=record.missing)

    def figures(self, step: str) -> dict[str, Any]:
        """Of a step that ran; of another one nothing."""
        return self.steps[step].figures if step in self.steps else {}

    def save(self, path: Path) -> None:
        with saving(path) as partial:
            partial.write_text(json.dumps(asdict(self), indent=2) + "\n")


def read_report(path: Path) -> Report:
    """Raises InputError when it is not such a file."""
    try:
        content = json.loads(path.read_text())
        steps = {name: Record(**record) for name, record in content.pop("steps").items()}
        return Report(**content, steps=steps)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is no report of `python -m bench.gpu` ({error}); remove it or name --out.") from error


def open_report(path: Path, *, device: str, miniature: bool) -> Report:
    """The report to go on with. Raises InputError when the one that is there is of another kind."""
    if not path.exists():
        return Report(device, miniature)
    report = read_report(path)
    if (report.device, report.miniature) != (device, miniature):
        kind = "in miniature" if report.miniature else "at full size"
        raise InputError(f"{path} is of runs on {report.device} {kind}, and these are others; name another --out.")
    return report
