"""What a bundle's files do otherwise than its manifest says."""

from collections.abc import Iterator

from bench.report.measure import MeasuredBundle, MeasuredFile
from cifar_models.manifest import Evaluation
from export.remeasure import ATOL, Figure, evaluated, selected


def differences(measured: MeasuredBundle) -> Iterator[str]:
    """A line for each figure that is not the manifest's."""
    for file in measured.files:
        for figure in figures(file):
            if not figure.is_close:
                name = f"{measured.bundle.folder.name}/{file.artifact.file}"
                stated, allowed = f"the manifest says {figure.stated:.4f}", f"{figure.allowed:g} apart is allowed"
                yield f"{name}: test {figure.name} is {figure.found:.4f}; {stated}, {allowed}."


def figures(file: MeasuredFile) -> Iterator[Figure]:
    """Those that `export.verify` measures again, and of each label; nothing of a file that states none."""
    stated = file.artifact.evaluation("test")
    if stated is not None:
        yield from evaluated(file.artifact, stated, file.test)
        yield from selected(file.artifact, stated, file.selection)
        yield from by_label(file, stated)


def by_label(file: MeasuredFile, stated: Evaluation) -> Iterator[Figure]:
    allowed = ATOL[file.artifact.precision]["accuracy"]
    for index, right in enumerate(stated.class_accuracies or []):
        images = sum((stated.confusion or [])[index])
        found = (file.test.class_accuracies or [])[index]
        # Of few images, a share moves more: as many images may differ as of all.
        yield Figure(f"accuracy of label {index}", found, right, allowed * stated.images / images)
