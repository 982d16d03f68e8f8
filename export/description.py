"""What an exported file says of itself, for whoever meets it without its manifest, and whether both say the same."""

import json
from collections.abc import Sequence

from cifar_models.bundle import Bundle, BundleError
from cifar_models.calibration import Calibration
from cifar_models.manifest import Artifact
from export.formats import FORMATS


def describe(
    *,
    name: str,
    architecture: str,
    labels: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    calibration: Calibration,
    weights_sha256: str,
    trained_on: str,
    source_revision: str,
    license_: str | None,
) -> dict[str, str]:
    description = {
        "name": name,
        "architecture": architecture,
        "labels": json.dumps(list(labels)),
        "input": "images: uint8 [batch, 32, 32, 3], NHWC, RGB",
        "outputs": "logits, probabilities: float32 [batch, classes]",
        "mean": json.dumps(list(mean)),
        "std": json.dumps(list(std)),
        "temperature": str(calibration.temperature),
        "sharpening": str(calibration.sharpening),
        "weights_sha256": weights_sha256,
        "trained_on": trained_on,
        "source_revision": source_revision,
    }
    return description | ({"license": license_} if license_ else {})


def check_description(bundle: Bundle, artifact: Artifact) -> None:
    """Raises BundleError when a file was made of other labels, preprocessing, calibration, weights or license."""
    manifest = bundle.manifest
    promised: dict[str, str | None] = {"license": None}
    promised |= describe(
        name=manifest.name,
        architecture=manifest.architecture,
        labels=manifest.labels,
        mean=manifest.input.mean,
        std=manifest.input.std,
        calibration=manifest.calibration,
        weights_sha256=manifest.weights_sha256,
        trained_on=manifest.origin.data,
        source_revision=manifest.origin.source_revision,
        license_=manifest.declared_license,
    )
    found = FORMATS[artifact.key].read_metadata(bundle.path(artifact))
    for field, value in promised.items():
        if found.get(field) != value:
            raise BundleError(f"{bundle.path(artifact)} has {field} {found.get(field)}, the manifest says {value}.")
