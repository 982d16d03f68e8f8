"""One bundle, measured again from its shipped files."""

import statistics
from dataclasses import dataclass

from bench.engines import BATCH, rate
from bench.report.corruptions import CORRUPTIONS
from cifar_models.bundle import Bundle
from cifar_models.dataset import ImageSet
from cifar_models.manifest import Artifact, Evaluation, Selection
from cifar_models.metrics import Reliability, accuracy, reliability
from cifar_models.selective import select
from export.evaluation import evaluate
from export.formats import open_runner
from export.runner import Runner, Target
from serving.settings import available_cores

_ROUNDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredFile:
    """One file of a bundle on the test images, one view each."""

    artifact: Artifact
    test: Evaluation
    reliability: Reliability
    selection: Selection | None  # at the threshold that the manifest states


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredBundle:
    """All files; and of the first that a processor would be given, its speed and what damage does to it."""

    bundle: Bundle
    files: list[MeasuredFile]
    images_per_second: float
    threads: int
    robustness: dict[str, list[float]]  # accuracy by corruption, severity by severity

    @property
    def served(self) -> MeasuredFile:
        return next(file for file in self.files if file.artifact == self.bundle.manifest.usual)

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.bundle.folder.iterdir())


def measure(bundle: Bundle, test: ImageSet, *, seconds: float) -> MeasuredBundle:
    """Run every file over the test images; the speed takes a few times `seconds`."""
    files = [measure_file(bundle, artifact, test) for artifact in bundle.manifest.artifacts]
    artifact, threads = bundle.manifest.usual, available_cores()
    run = open_runner(artifact.key, bundle.path(artifact), Target(threads=threads))
    return MeasuredBundle(
        bundle=bundle,
        files=files,
        images_per_second=statistics.median(rate(run, BATCH, seconds) for _ in range(_ROUNDS)),
        threads=threads,
        robustness=measure_robustness(run, test),
    )


def measure_file(bundle: Bundle, artifact: Artifact, test: ImageSet) -> MeasuredFile:
    outputs = open_runner(artifact.key, bundle.path(artifact)).in_batches(test.images)
    _, probabilities = outputs
    selective = artifact.selective
    return MeasuredFile(
        artifact=artifact,
        test=evaluate(outputs, test, bundle.manifest.origin.data, "test"),
        reliability=reliability(probabilities, test.labels),
        selection=select(probabilities, test.labels, selective.threshold) if selective else None,
    )


def measure_robustness(run: Runner, test: ImageSet) -> dict[str, list[float]]:
    """The accuracy on the corrupted test images, by corruption, the mildest severity first."""
    return {
        name: [
            accuracy(run.in_batches(corruption.apply(test.images, severity))[1], test.labels)
            for severity in corruption.severities
        ]
        for name, corruption in CORRUPTIONS.items()
    }
