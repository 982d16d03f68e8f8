"""The golden images of a bundle, and what an engine must answer to them."""

import numpy as np

from cifar_models.bundle import Bundle, BundleError, Probabilities
from cifar_models.manifest import Artifact
from cifar_models.picture import Pixels
from serving.engines.registry import ENGINES


def golden_images(bundle: Bundle) -> Pixels:
    """uint8 [n, 32, 32, 3]."""
    with np.load(bundle.path(bundle.manifest.golden), allow_pickle=False) as golden:
        return np.asarray(golden["images"])


def check_golden(bundle: Bundle, name: str, probabilities: Probabilities) -> None:
    """Raises BundleError when these are not the probabilities of the golden images that this engine may give.

    On CUDA a logit may differ, and a steep calibration makes more of that, as the gate knows.
    """
    kind = ENGINES[name]
    steepness = max(1.0, bundle.manifest.calibration.steepness) if kind.cuda else 1.0
    bundle.check_golden(find_artifact(bundle, name), lambda _: probabilities, atol=kind.atol * steepness)


def find_artifact(bundle: Bundle, name: str) -> Artifact:
    """The file that this engine runs. Raises BundleError where the bundle has none."""
    key = ENGINES[name].artifact
    artifact = bundle.manifest.find(key)
    if artifact is None:
        raise BundleError(f"The bundle has no {key}.")
    return artifact
