"""How accurate each architecture was when it was trained: what runs and bundles say of themselves."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from cifar_models.atomic import saving
from cifar_models.bundle import MANIFEST, read_manifest
from cifar_models.errors import InputError

RUNS = Path(__file__).with_name("accuracies.json")  # of runs whose folders are not kept in the repository


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """One view of each image: of a bundle's int8 file, or of a run's float weights."""

    architecture: str
    source: str  # the run or the bundle
    data: str
    epoch: int  # the one that validation chose
    validation: float  # chooses, among epochs and among runs
    test: float  # chooses nothing


def best_accuracies(runs: Iterable[Accuracy], bundles: Path) -> dict[str, Accuracy]:
    """By architecture, the bundle in `bundles`, or else the run; of several, the one that validation chooses.

    Raises InputError when they are of different data: no figure of one can be compared with one of the other.
    """
    found = (sorted(each, key=lambda accuracy: accuracy.validation) for each in (runs, read_bundles(bundles)))
    best = {accuracy.architecture: accuracy for accuracy in chain.from_iterable(found)}
    data = {accuracy.data for accuracy in best.values()}
    if len(data) > 1:
        raise InputError(
            f"Accuracies on {' and '.join(sorted(data))} cannot be compared; leave those of other data out of "
            f"--runs, or mend {RUNS}."
        )
    return best


def with_recorded(found: Iterable[Accuracy]) -> list[Accuracy]:
    """The runs found and those recorded before, of which one with the name of a found one is left out."""
    recorded = (Accuracy(**entry) for entry in json.loads(RUNS.read_text()))
    runs = {accuracy.source: accuracy for accuracy in (*recorded, *found)}
    return [runs[source] for source in sorted(runs)]


def record(runs: Iterable[Accuracy]) -> None:
    """Keep them for those who do not have their folders."""
    with saving(RUNS) as partial:
        partial.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n")


def read_runs(folder: Path) -> list[Accuracy]:
    """Raises InputError when there is no report of `training.evaluate` in `folder`, or one cannot be read."""
    paths = sorted(folder.glob("*/report.json"))
    if not paths:
        raise InputError(f"{folder} holds no run with a report.json; `python -m training.evaluate RUN` writes one.")
    return [read_run(path) for path in paths]


def read_run(path: Path) -> Accuracy:
    try:
        report = json.loads(path.read_text())
        return Accuracy(
            architecture=report["recipe"]["model"],
            source=path.parent.name,
            data=report["data"],
            epoch=report["epoch"],
            validation=report["validation"]["accuracy"],
            test=report["test"]["accuracy"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no report of `python -m training.evaluate` ({error}); make it again.") from error


def read_bundles(folder: Path) -> Iterator[Accuracy]:
    for path in sorted(folder.glob(f"[!.]*/{MANIFEST}")):
        manifest = read_manifest(path.parent)
        artifact = manifest.usual
        validation, test = artifact.evaluation("validation"), artifact.evaluation("test")
        if validation is None or test is None:
            raise InputError(f"{path} does not state both accuracies of {artifact.file}; export it again.")
        yield Accuracy(
            architecture=manifest.architecture,
            source=f"models/{path.parent.name}",
            data=test.data,
            epoch=manifest.origin.epoch,
            validation=validation.accuracy,
            test=test.accuracy,
        )
