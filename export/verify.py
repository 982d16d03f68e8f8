"""Check a bundle: python -m export.verify models/NAME [--data DIR]."""

from functools import partial
from pathlib import Path

import numpy as np

from cifar_models.bundle import Bundle, BundleError, Probabilities, open_bundle
from cifar_models.command import Parser, run_command
from cifar_models.manifest import Artifact, Parity
from cifar_models.picture import Pixels
from export.card import render_card
from export.comparison import EVERY, MEASURED, ROUNDING, STABILITY, Comparison
from export.description import check_description
from export.formats import open_runner
from export.parity import TOLERANCES
from export.remeasure import measure_again
from export.runner import Runner

# Looser than at the export: another processor sums in another order, and int8 rounds on top of that.
_GOLDEN_ATOL = {"onnx-int8": 2e-2}
_FLOAT_GOLDEN_ATOL = 1e-4


def main() -> int:
    parser = Parser(
        prog="python -m export.verify",
        description="Check a bundle: manifest, hashes and golden images; with --data also the accuracies it states.",
    )
    parser.add_argument("bundle", type=Path, help="such as models/cifarnet")
    parser.add_argument("--data", type=Path, help="measure the stated accuracies again on the images in this folder")
    options = parser.parse_args()
    try:
        bundle = open_bundle(options.bundle)
        runs = {}
        for artifact in bundle.manifest.artifacts:
            runs[artifact.key] = verify_artifact(bundle, artifact)
            print(f"{artifact.file:22} hash and golden images right", flush=True)
        check_proofs(bundle)
        check_card(bundle)
        for line in measure_again(bundle, runs, options.data) if options.data else ():
            print(line, flush=True)
    except BundleError as error:
        print(f"wrong: {error}")
        return 1
    print(f"{options.bundle} is what its manifest says.")
    return 0


def check_proofs(bundle: Bundle) -> None:
    """Raises BundleError when the manifest does not say of every file that it passed every check."""
    manifest = bundle.manifest
    check_proof("The rounding", manifest.rounding, ROUNDING)
    for artifact in manifest.artifacts:
        check_proof(artifact.file, artifact.parity, EVERY)
        check_allowed(artifact)
        for parity in artifact.cuda_parity:
            # Threads are the CPU's.
            check_proof(f"{artifact.file} on CUDA in {parity.arithmetic}", parity, EVERY - {Comparison.THREADS})


def check_proof(name: str, parity: Parity, required: frozenset[Comparison]) -> None:
    missing = required - {check.name for check in parity.checks}
    failed = [check.name for check in parity.checks if not check.passed]
    if missing or failed:
        raise BundleError(f"{name} is not proved: {', '.join([*sorted(missing), *failed])} missing or failed.")


def check_allowed(artifact: Artifact) -> None:
    """Raises BundleError when the manifest allows itself what the gate does not."""
    tolerance = TOLERANCES[artifact.key]
    allowed = {check.name: check.allowed for check in artifact.parity.checks}
    told = allowed.keys() if tolerance.logit is not None else allowed.keys() - MEASURED
    fixed = dict.fromkeys(STABILITY, tolerance.rows) | {
        Comparison.LABELS: tolerance.labels,
        Comparison.ACCURACIES: tolerance.accuracy,
    }
    for name in told:
        limit = allowed[name]
        if limit is None or limit != fixed.get(Comparison(name), limit):
            raise BundleError(f"The manifest allows {artifact.file} {limit} in {name}, which is not the gate's limit.")


def check_card(bundle: Bundle) -> None:
    """Raises BundleError when the model card says something else than the manifest."""
    card = bundle.manifest.card
    if card is None or bundle.path(card).read_text() != render_card(bundle.manifest):
        raise BundleError(f"The model card of {bundle.folder} is not that of its manifest; export it again.")


def verify_artifact(bundle: Bundle, artifact: Artifact) -> Runner:
    """The file, opened and checked. Raises BundleError."""
    try:
        check_description(bundle, artifact)
        run = open_runner(artifact.key, bundle.path(artifact))
        atol = _GOLDEN_ATOL.get(artifact.key, _FLOAT_GOLDEN_ATOL)
        bundle.check_golden(artifact, partial(in_two_batches, run), atol=atol)
    except BundleError:
        raise
    except Exception as error:  # each format raises its own
        raise BundleError(f"{bundle.path(artifact)} cannot be opened or run: {error}") from error
    return run


def in_two_batches(run: Runner, images: Pixels) -> Probabilities:
    """One image, and the rest: a graph of one size of batch cannot run both."""
    return np.concatenate([run(part)[1] for part in (images[:1], images[1:])])


if __name__ == "__main__":
    run_command(main)
