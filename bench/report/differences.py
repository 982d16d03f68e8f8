"""What a bundle's files do otherwise than its manifest says."""

from collections.abc import Iterator

from bench.report.measure import MeasuredBundle, MeasuredFile
from export.remeasure import ATOL


def differences(measured: MeasuredBundle) -> Iterator[str]:
    """A line for each figure that is not the manifest's."""
    for file in measured.files:
        for what, found, stated, allowed in figures(file):
            if not abs(found - stated) <= allowed:  # not `>`: NaN differs too
                name = f"{measured.bundle.folder.name}/{file.artifact.file}"
                yield f"{name}: {what} is {found:.4f}; the manifest says {stated:.4f}, {allowed:g} apart is allowed."


def figures(file: MeasuredFile) -> Iterator[tuple[str, float, float, float]]:
    """Name, found, stated, and how far apart they may be; nothing of a file that states none."""
    artifact, allowed = file.artifact, ATOL[file.artifact.precision]
    stated = artifact.evaluation("test")
    if stated is None:
        return
    for name, figure in (("accuracy", "accuracy"), ("ECE", "ece"), ("NLL", "nll")):
        yield f"test {name}", getattr(file.test, figure), getattr(stated, figure), allowed[figure]
    if artifact.selective and artifact.selective.test and file.selection:
        for name in ("coverage", "precision"):
            yield f"test {name}", getattr(file.selection, name), getattr(artifact.selective.test, name), allowed[name]
    for index, right in enumerate(stated.class_accuracies or []):
        images = sum((stated.confusion or [])[index])
        found = (file.test.class_accuracies or [])[index]
        # Of few images, a share moves more: as many images may differ as of all.
        yield f"accuracy of label {index}", found, right, allowed["accuracy"] * stated.images / images
