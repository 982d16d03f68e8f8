"""What an exported file says of itself, for whoever meets it without its manifest, and whether both say the same."""

import json

from cifar_models.bundle import Bundle, BundleError
from cifar_models.manifest import Artifact, Manifest
from export.formats import FORMATS


def describe(manifest: Manifest) -> dict[str, str]:
    """Of what is known before a file is written; a license only where there is one."""
    description = {
        "name": manifest.name,
        "architecture": manifest.architecture,
        "labels": json.dumps(manifest.labels),
        "input": "images: uint8 [batch, 32, 32, 3], NHWC, RGB",
        "outputs": "logits, probabilities: float32 [batch, classes]",
        "mean": json.dumps(manifest.input.mean),
        "std": json.dumps(manifest.input.std),
        "temperature": str(manifest.temperature),
        "sharpening": str(manifest.sharpening),
        "weights_sha256": manifest.weights_sha256,
        "trained_on": manifest.origin.data,
        "source_revision": manifest.origin.source_revision,
    }
    return description | ({"license": manifest.declared_license} if manifest.declared_license else {})


def check_description(bundle: Bundle, artifact: Artifact) -> None:
    """Raises BundleError when a file was made of other labels, preprocessing, calibration, weights or license."""
    promised: dict[str, str | None] = {"license": None, **describe(bundle.manifest)}
    found = FORMATS[artifact.key].read_metadata(bundle.path(artifact))
    for field, value in promised.items():
        if found.get(field) != value:
            raise BundleError(f"{bundle.path(artifact)} has {field} {found.get(field)}, the manifest says {value}.")
