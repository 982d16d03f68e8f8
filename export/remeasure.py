"""The figures that a manifest states, measured again."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cifar_models.bundle import Bundle, BundleError, Probabilities
from cifar_models.dataset import ImageSet, load_images, split_validation
from cifar_models.errors import InputError, reason
from cifar_models.manifest import Artifact, Evaluation, Manifest, Selection, Split
from cifar_models.selective import choose_threshold, select
from export.evaluation import evaluate
from export.formats import measured_on_test
from export.runner import Runner

# Looser than nothing: another processor sums in another order, and int8 rounds on top of that. An image on the edge of
# two bins counts in either for the calibration error. Probabilities are densest near 1, where thresholds lie.
ATOL = {
    "fp32": {"accuracy": 2e-4, "ece": 1e-3, "nll": 1e-3, "threshold": 1e-3, "coverage": 1e-3, "precision": 2e-4},
    "int8": {"accuracy": 2e-3, "ece": 5e-3, "nll": 5e-3, "threshold": 2e-2, "coverage": 1e-2, "precision": 2e-3},
}  # by precision


class Figure(NamedTuple):
    """One that a manifest states, and as it was found; `allowed` is how far apart another processor may bring them."""

    name: str
    found: float
    stated: float
    allowed: float

    @property
    def is_close(self) -> bool:
        return abs(self.found - self.stated) <= self.allowed  # NaN is not


def measure_again(bundle: Bundle, runs: Mapping[str, Runner], data: Path) -> Iterator[str]:
    """A line for each figure, of the runners by their artifact's key. Raises BundleError at the first that is another.

    The test images in `data` are needed, its training images are used if they are there: the held-out ones among them
    are found as training found them. Raises InputError when they cannot be read, or are others.
    """
    manifest = bundle.manifest
    check_stated(manifest)
    splits = load_splits(bundle, data)
    for artifact in manifest.artifacts:
        for stated in artifact.evaluations:
            if stated.split in splits:
                yield compare(artifact, stated, runs[artifact.key], splits[stated.split])
    if "validation" not in splits:
        yield f"not measured again: the accuracy on validation images, as {data} has no training images"


def check_stated(manifest: Manifest) -> None:
    """Raises BundleError when a figure that every export states is missing."""
    tested = measured_on_test(artifact.key for artifact in manifest.artifacts)
    for artifact in manifest.artifacts:
        missing = {"validation", *(["test"] if artifact.key in tested else [])} - {
            stated.split for stated in artifact.evaluations
        }
        if missing:
            raise BundleError(f"The manifest states no {min(missing)} accuracy of {artifact.file}; export it again.")


def load_splits(bundle: Bundle, data: Path) -> dict[Split, ImageSet]:
    """Raises InputError when the images in `data` are not those that the manifest names."""
    origin, test = bundle.manifest.origin, load_images(data, "test")
    check_test_images(bundle, test)
    if (data / "test").is_dir() and not (data / "train").is_dir():
        return {"test": test}
    training = load_images(data, "train")
    if training.fingerprint() != origin.data_fingerprint:
        raise InputError(
            f"{bundle.folder} was trained on other images ({origin.data}) than those in {data}; "
            "name their folder with --data."
        )
    return {"validation": held_out(bundle.manifest, training), "test": test}


def check_test_images(bundle: Bundle, test: ImageSet) -> None:
    """Raises BundleError when the served file states no test figures, and InputError when they are of other images."""
    artifact = bundle.manifest.usual
    stated = artifact.evaluation("test")
    if stated is None:
        raise BundleError(f"The manifest states no test accuracy of {bundle.path(artifact)}.")
    if stated.data_fingerprint != test.fingerprint():
        raise InputError(
            f"{bundle.path(artifact)} was measured on {stated.images} other test images ({stated.data}); "
            "name their folder with --data."
        )


def held_out(manifest: Manifest, training: ImageSet) -> ImageSet:
    """The images that the run kept apart. Raises BundleError when the recipe does not say which."""
    recipe = manifest.origin.recipe
    try:
        _, validation = split_validation(training, float(recipe["validation"]), int(recipe["seed"]))
    except (KeyError, ValueError) as error:
        raise BundleError(
            f"The manifest's recipe does not say which images were held out ({error}); export the checkpoint again."
        ) from error
    return training.subset(validation)


def compare(artifact: Artifact, stated: Evaluation, run: Runner, images: ImageSet) -> str:
    if images.fingerprint() != stated.data_fingerprint:
        raise BundleError(
            f"The manifest's {stated.split} accuracy of {artifact.file} was measured on {stated.images} other images "
            f"({stated.data})."
        )
    try:
        outputs = run.in_batches(images.images)
    except Exception as error:  # each format raises its own
        raise BundleError(f"{artifact.file} cannot be run on {len(images)} images: {reason(error)}") from error
    found = evaluate(outputs, images, stated.data, stated.split)
    require_close(artifact, stated, evaluated(artifact, stated, found))
    _, probabilities = outputs
    if stated.split == "validation":
        check_threshold(artifact, stated, probabilities, images)
    if artifact.selective:
        selection = select(probabilities, images.labels, artifact.selective.threshold)
        require_close(artifact, stated, selected(artifact, stated, selection))
    return (
        f"{artifact.file:22} {stated.split} accuracy {found.accuracy:.2%}, ECE {found.ece:.2%} and NLL {found.nll:.4f} "
        f"right, on {found.images} images ({stated.data})"
    )


def check_threshold(artifact: Artifact, on: Evaluation, probabilities: Probabilities, images: ImageSet) -> None:
    """Raises BundleError when the validation images choose another one than the manifest says."""
    found = choose_threshold(probabilities, images.labels)
    stated = artifact.selective.threshold if artifact.selective else None
    if found is not None and stated is not None:
        require_close(artifact, on, [Figure("threshold", found, stated, ATOL[artifact.precision]["threshold"])])
    elif found != stated:
        raise BundleError(
            f"{artifact.file}: threshold {found} on {on.images} {on.split} images; its manifest says {stated} "
            f"({on.data})."
        )


def evaluated(artifact: Artifact, stated: Evaluation, found: Evaluation) -> Iterator[Figure]:
    """What a file does to the images of a split, and to those of each label where the manifest says it."""
    atol = ATOL[artifact.precision]
    for name, figure in (("accuracy", "accuracy"), ("ECE", "ece"), ("NLL", "nll")):
        yield Figure(name, getattr(found, figure), getattr(stated, figure), atol[figure])
    by_label = zip(found.class_accuracies or [], stated.class_accuracies or [], found.confusion or [], strict=False)
    for index, (share, right, answers) in enumerate(by_label):
        # Of few images, a share moves more: as many images may differ as of all.
        yield Figure(f"accuracy of label {index}", share, right, atol["accuracy"] * found.images / max(1, sum(answers)))


def selected(artifact: Artifact, on: Evaluation, found: Selection | None) -> Iterator[Figure]:
    """What the stated threshold does to the images; nothing where the manifest does not say it."""
    if artifact.selective is None or found is None:
        return
    stated = artifact.selective.validation if on.split == "validation" else artifact.selective.test
    if stated is None:
        return
    # The threshold is the probability of a validation image, and that may be rounded to either side of it.
    least = 2 / on.images / max(stated.coverage, 1 / on.images)  # two of the confident answers
    for name in ("coverage", "precision"):
        allowed = max(ATOL[artifact.precision][name], least)
        yield Figure(name, getattr(found, name), getattr(stated, name), allowed)


def require_close(artifact: Artifact, on: Evaluation, figures: Iterable[Figure]) -> None:
    """Raises BundleError at the first figure that is farther from the stated one than it may be."""
    for figure in figures:
        if not figure.is_close:
            raise BundleError(
                f"{artifact.file}: {figure.name} {figure.found:.4f} on {on.images} {on.split} images; its manifest "
                f"says {figure.stated:.4f} ({on.data})."
            )
