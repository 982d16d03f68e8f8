"""What a bundle's files do otherwise than its manifest says."""

from collections.abc import Iterator

from bench.report.measure import MeasuredBundle, MeasuredFile, served_artifact
from cifar_models.bundle import Bundle, BundleError
from cifar_models.dataset import ImageSet
from cifar_models.errors import InputError

# Another processor sums in another order, and int8 rounds on top of that: shares of the test images.
_ATOL = {"int8": 2e-3, "fp32": 2e-4}
_NLL_ATOL = {"int8": 1e-2, "fp32": 1e-4}  # nats


def check_data(bundle: Bundle, test: ImageSet) -> None:
    """Raises BundleError when the served file states no test figures, and InputError when they are of other images."""
    artifact = served_artifact(bundle)
    stated = artifact.evaluation("test")
    if stated is None:
        raise BundleError(f"The manifest states no test accuracy of {bundle.path(artifact)}.")
    if stated.data_fingerprint != test.fingerprint():
        raise InputError(
            f"{bundle.path(artifact)} was measured on {stated.images} other test images ({stated.data}); "
            "name their folder with --data."
        )


def differences(measured: MeasuredBundle) -> Iterator[str]:
    """A line for each figure that is not the manifest's."""
    for file in measured.files:
        for what, found, stated, allowed in figures(file):
            if not abs(found - stated) <= allowed:  # not `>`: NaN differs too
                name = f"{measured.bundle.folder.name}/{file.artifact.file}"
                yield f"{name}: {what} is {found:.4f}; the manifest says {stated:.4f}, {allowed:g} apart is allowed."


def figures(file: MeasuredFile) -> Iterator[tuple[str, float, float, float]]:
    """Name, found, stated, and how far apart they may be; nothing of a file that states none."""
    artifact, precision = file.artifact, file.artifact.precision
    stated, atol = artifact.evaluation("test"), _ATOL[precision]
    if stated is None:
        return
    yield "test accuracy", file.test.accuracy, stated.accuracy, atol
    yield "test ECE", file.test.ece, stated.ece, atol
    yield "test NLL", file.test.nll, stated.nll, _NLL_ATOL[precision]
    if artifact.selective and artifact.selective.test and file.selection:
        # Probabilities are densest near 1, where thresholds lie.
        yield "test coverage", file.selection.coverage, artifact.selective.test.coverage, 5 * atol
        yield "test precision", file.selection.precision, artifact.selective.test.precision, atol
    for index, right in enumerate(stated.class_accuracies or []):
        images = sum((stated.confusion or [])[index])
        found = (file.test.class_accuracies or [])[index]
        # Of few images, a share moves more: as many images may differ as of all.
        yield f"accuracy of label {index}", found, right, atol * stated.images / images
