"""Check a bundle: python -m export.verify models/NAME [--data DIR]."""

from functools import partial
from math import isclose
from pathlib import Path

import numpy as np

from cifar_models.bundle import Bundle, BundleError, Probabilities, open_bundle
from cifar_models.calibration import Calibration
from cifar_models.command import Parser, run_command
from cifar_models.errors import reason
from cifar_models.manifest import Artifact, Parity
from cifar_models.picture import Pixels
from export.card import render_card
from export.comparison import EVERY, ROUNDED, Comparison
from export.description import check_description
from export.formats import open_runner
from export.remeasure import measure_again
from export.runner import Runner
from export.tolerance import CUDA_TOLERANCES, ROUNDING, TOLERANCES, Tolerance

# Looser than at the export: another processor sums in another order, and int8 rounds on top of that.
_GOLDEN_ATOL = {"onnx-int8": 2e-2}
_FLOAT_GOLDEN_ATOL = 1e-4

_OLDEST_SCHEMA = 4  # files of before describe themselves without a sharpening
_REFUSES = 6  # files of before were not tried with wrong inputs


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
        check_schema(bundle)
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


def check_schema(bundle: Bundle) -> None:
    """Raises BundleError when the manifest is too old to say what is checked."""
    found = bundle.manifest.schema_version
    if found < _OLDEST_SCHEMA:
        raise BundleError(
            f"{bundle.folder} is of schema {found}, which is served and cannot be checked; schema {_OLDEST_SCHEMA} and "
            "later can: export the checkpoint again."
        )


def check_proofs(bundle: Bundle) -> None:
    """Raises BundleError when the manifest does not say of every file that it passed every check."""
    manifest = bundle.manifest
    calibration = manifest.calibration
    every = EVERY if manifest.schema_version >= _REFUSES else EVERY - {Comparison.WRONG_INPUTS}
    check_proof("The rounding", manifest.rounding, ROUNDED, ROUNDING, calibration)
    for artifact in manifest.artifacts:
        check_proof(artifact.file, artifact.parity, every, TOLERANCES[artifact.key], calibration)
        for parity in artifact.cuda_parity:
            name = f"{artifact.file} on CUDA in {parity.arithmetic}"
            tolerance = CUDA_TOLERANCES[parity.arithmetic]
            check_proof(name, parity, every - {Comparison.THREADS}, tolerance, calibration)  # threads are the CPU's


def check_proof(
    name: str, parity: Parity, required: frozenset[Comparison], tolerance: Tolerance, calibration: Calibration
) -> None:
    """Raises BundleError when a comparison is missing or failed, or was allowed what the gate does not allow."""
    names = [check.name for check in parity.checks]
    wrong = {*(required ^ set(names)), *(check.name for check in parity.checks if not check.passed)}
    if wrong or len(names) > len(required):
        raise BundleError(f"{name} is not proved: {', '.join(sorted(wrong))} missing, unknown, twice there or failed.")
    for check in parity.checks:
        if not is_the_gate_s(Comparison(check.name), check.allowed, tolerance, calibration):
            raise BundleError(
                f"The manifest allows {name} {check.allowed} in {check.name}, which is not the gate's limit."
            )


def is_the_gate_s(comparison: Comparison, limit: float | None, tolerance: Tolerance, calibration: Calibration) -> bool:
    """Whether the gate has that limit. Of logits it may have more, by the reference's largest, which is not here."""
    least = tolerance.limit(comparison, calibration)
    if limit is None or least is None:
        return limit == least
    if tolerance.relative and comparison in (Comparison.LOGITS, Comparison.EXTREME_LOGITS):
        return limit >= least
    return isclose(limit, least)


def check_card(bundle: Bundle) -> None:
    """Raises BundleError when the model card says something else than the manifest."""
    card = bundle.manifest.card
    try:
        expected = render_card(bundle.manifest).encode()
    except (ValueError, ArithmeticError) as error:  # as of figures on no image
        raise BundleError(f"The figures in the manifest of {bundle.folder} make no card: {reason(error)}.") from error
    if card is None or bundle.path(card).read_bytes() != expected:
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
        raise BundleError(f"{bundle.path(artifact)} cannot be opened or run: {reason(error)}") from error
    return run


def in_two_batches(run: Runner, images: Pixels) -> Probabilities:
    """One image, and the rest: a graph of one size of batch cannot run both."""
    return np.concatenate([run(part)[1] for part in (images[:1], images[1:])])


if __name__ == "__main__":
    run_command(main)
