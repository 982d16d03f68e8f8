"""Check a bundle: python -m export.verify models/NAME [--data DIR]."""

import argparse
from pathlib import Path

from cifar_models.bundle import Bundle, BundleError, open_bundle
from cifar_models.dataset import ImageSet, load_images
from cifar_models.errors import run_command
from cifar_models.manifest import Artifact
from export.card import render_card
from export.description import check_description
from export.evaluation import evaluate
from export.formats import open_runner
from export.runner import Runner

ROUNDING_CHECKS = {"logits", "probabilities", "labels", "accuracies"}
CHECKS = ROUNDING_CHECKS | {
    *("extreme logits", "extreme probabilities"),
    *("batch sizes", "neighbours", "memory layouts", "runs", "thread counts"),
}

# Looser than at the export: another processor sums in another order, and int8 rounds on top of that.
_GOLDEN_ATOL = {"onnx-int8": 2e-2}
_ACCURACY_ATOL = {"onnx-int8": 2e-3}
_FLOAT_GOLDEN_ATOL, _FLOAT_ACCURACY_ATOL = 1e-4, 2e-4


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m export.verify",
        description="Check a bundle: manifest, hashes and golden images; with --data also the test accuracy it states.",
    )
    parser.add_argument("bundle", type=Path, help="such as models/cifarnet")
    parser.add_argument("--data", type=Path, help="recompute the test accuracy on the images in this folder")
    options = parser.parse_args()
    try:
        bundle = open_bundle(options.bundle)
        test = load_images(options.data, "test") if options.data else None
        for artifact in bundle.manifest.artifacts:
            print(verify_artifact(bundle, artifact, test), flush=True)
        check_proofs(bundle)
        check_card(bundle)
    except BundleError as error:
        print(f"wrong: {error}")
        return 1
    print(f"{options.bundle} is what its manifest says.")
    return 0


def check_proofs(bundle: Bundle) -> None:
    """Raises BundleError when the manifest does not say of every file that it passed every check."""
    manifest = bundle.manifest
    parities = {artifact.file: artifact.parity for artifact in manifest.artifacts} | {"The rounding": manifest.rounding}
    for name, parity in parities.items():
        missing = (ROUNDING_CHECKS if parity is manifest.rounding else CHECKS) - {check.name for check in parity.checks}
        failed = [check.name for check in parity.checks if not check.passed]
        if missing or failed:
            raise BundleError(f"{name} is not proved: {', '.join([*sorted(missing), *failed])} missing or failed.")


def check_card(bundle: Bundle) -> None:
    """Raises BundleError when the model card says something else than the manifest."""
    card = bundle.manifest.card
    if card is None or bundle.path(card).read_text() != render_card(bundle.manifest):
        raise BundleError(f"The model card of {bundle.folder} is not that of its manifest; export it again.")


def verify_artifact(bundle: Bundle, artifact: Artifact, test: ImageSet | None) -> str:
    """One line that says what was checked. Raises BundleError."""
    try:
        check_description(bundle, artifact)
        run = open_runner(artifact.key, bundle.path(artifact))
        atol = _GOLDEN_ATOL.get(artifact.key, _FLOAT_GOLDEN_ATOL)
        bundle.check_golden(artifact, lambda images: run(images)[1], atol=atol)
    except BundleError:
        raise
    except Exception as error:  # each format raises its own
        raise BundleError(f"{bundle.path(artifact)} cannot be opened or run: {error}") from error
    line = f"{artifact.file:22} hash and golden images right"
    return line if test is None else f"{line}, {verify_accuracy(bundle, artifact, run, test)}"


def verify_accuracy(bundle: Bundle, artifact: Artifact, run: Runner, test: ImageSet) -> str:
    stated = next((evaluation for evaluation in artifact.evaluations if evaluation.split == "test"), None)
    if stated is None:
        raise BundleError(f"The manifest states no test accuracy of {artifact.file}.")
    if test.classes != tuple(bundle.manifest.labels):
        raise BundleError(f"The data have the classes {', '.join(test.classes)}; the bundle's labels are others.")
    found = evaluate(run.in_batches(test.images), test, stated.data, "test")
    if found.data_fingerprint != stated.data_fingerprint:
        raise BundleError(
            f"The manifest's accuracy of {artifact.file} was measured on {stated.images} other images ({stated.data})."
        )
    if not abs(found.accuracy - stated.accuracy) <= _ACCURACY_ATOL.get(artifact.key, _FLOAT_ACCURACY_ATOL):
        raise BundleError(
            f"{artifact.file} labels {found.accuracy:.2%} of {found.images} test images right; its manifest says "
            f"{stated.accuracy:.2%} of {stated.images} ({stated.data})."
        )
    return f"test accuracy {found.accuracy:.2%} and ECE {found.ece:.2%} on {found.images} images ({stated.data})"


if __name__ == "__main__":
    run_command(main)
