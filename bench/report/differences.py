"""What a bundle's files do otherwise than its manifest says."""

from collections.abc import Iterator

from bench.report.measure import MeasuredBundle, MeasuredFile
from export.remeasure import Figure, evaluated, selected


def differences(measured: MeasuredBundle) -> Iterator[str]:
    """A line for each figure that is not the manifest's."""
    for file in measured.files:
        for figure in figures(file):
            if not figure.is_close:
                name = f"{measured.bundle.folder.name}/{file.artifact.file}"
                stated, allowed = f"the manifest says {figure.stated:.4f}", f"{figure.allowed:g} apart is allowed"
                yield f"{name}: test {figure.name} is {figure.found:.4f}; {stated}, {allowed}."


def figures(file: MeasuredFile) -> Iterator[Figure]:
    """Those that `export.verify` measures again; nothing of a file that states none."""
    stated = file.artifact.evaluation("test")
    if stated is not None:
        yield from evaluated(file.artifact, stated, file.test)
        yield from selected(file.artifact, stated, file.selection)
