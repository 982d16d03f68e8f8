"""An exported file that computes anything but what its checkpoint computes is refused."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import tiny_images
from torch import nn
from wrong_networks import Comparing, DroppingOut, ForTwo, InOneLayout, NormalisedTwice, Reversed, Undefined

from cifar_models.calibration import fit_calibration
from cifar_models.cifar10 import LABELS, MEAN, STD
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.picture import Pixels
from export.comparison import EVERY
from export.formats import FORMATS, open_runner
from export.onnx_file import OPSET, export_onnx
from export.parity import Evidence, Opener, ParityError, check_parity, compare_accuracies
from export.reference import run_reference
from export.refusal import wrong_inputs
from export.runner import Outputs, Runner
from export.safetensors_file import export_safetensors
from export.tolerance import TOLERANCES
from export.torch_export_file import export_torch_export
from export.torchscript_file import export_torchscript

WRITERS = {
    "onnx-fp32": export_onnx,
    "torchscript-fp32": export_torchscript,
    "torch-export-fp32": export_torch_export,
    "safetensors-fp32": export_safetensors,
}
FILES = list(WRITERS)
GRAPHS = FILES[:-1]  # those that hold more than weights
DESCRIPTION = {
    "architecture": "lenet",
    "labels": json.dumps(LABELS),
    "mean": json.dumps(MEAN),
    "std": json.dumps(STD),
    "temperature": "1",
    "sharpening": "0",
}


@pytest.fixture(scope="module")
def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier("lenet", num_classes=len(LABELS)).eval()


@pytest.fixture(scope="module")
def real() -> ImageSet:
    images = np.concatenate([tiny_images(label, 8, seed=3) for label in range(len(LABELS))])
    return ImageSet(images, np.repeat(np.arange(len(LABELS)), 8), LABELS)


@pytest.fixture(scope="module")
def evidence(model: Classifier, real: ImageSet) -> Evidence:
    return Evidence(model, real)


FIXED = r"cannot be run as it must on cpu; it runs a batch of 2 and none of 0: is its batch fixed\?"


def with_weights(kind: type[Classifier], model: Classifier) -> Classifier:
    other = kind("lenet", num_classes=len(LABELS))
    other.load_state_dict(model.state_dict())
    return other.eval()


def export_file(key: str, model: Classifier, folder: Path) -> Opener:
    path = folder / FORMATS[key].file
    WRITERS[key](model, path, DESCRIPTION)
    return partial(open_runner, key, path)


@pytest.mark.parametrize("key", FILES)
def test_a_file_of_the_same_network_is_kept(key: str, model: Classifier, evidence: Evidence, tmp_path: Path) -> None:
    agreement = check_parity(key, export_file(key, model, tmp_path), evidence)
    assert agreement.parity.images == 80
    assert {check.name for check in agreement.parity.checks} == EVERY
    assert agreement.parity.find("labels").difference == agreement.parity.find("accuracies").difference == 0
    for images in wrong_inputs():
        with pytest.raises(Exception, match=r"(?i)image|dtype|type"):  # each format raises its own
            agreement.run(images)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", FILES)
def test_a_file_of_other_weights_is_refused(key: str, model: Classifier, evidence: Evidence, tmp_path: Path) -> None:
    other = with_weights(Classifier, model)
    with torch.no_grad():
        next(other.network.parameters())[0] += 0.01
    with pytest.raises(ParityError, match=f"{key} does not agree"):
        check_parity(key, export_file(key, other, tmp_path), evidence)


@pytest.mark.parametrize("kind", [Reversed, NormalisedTwice])
def test_a_file_of_a_network_that_takes_pixels_for_others_is_refused(
    kind: type[Classifier], model: Classifier, evidence: Evidence, tmp_path: Path
) -> None:
    with pytest.raises(ParityError, match="does not agree"):
        check_parity("torchscript-fp32", export_file("torchscript-fp32", with_weights(kind, model), tmp_path), evidence)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # it sees what dropout does, and only warns
@pytest.mark.parametrize("key", GRAPHS)
@pytest.mark.parametrize("kind", [DroppingOut, Comparing, Undefined])
def test_a_network_that_is_no_function_of_one_image_is_refused_even_when_the_reference_is_the_same(
    key: str, kind: type[Classifier], model: Classifier, real: ImageSet, tmp_path: Path
) -> None:
    wrong = with_weights(kind, model)
    with pytest.raises(ParityError, match=key):
        check_parity(key, export_file(key, wrong, tmp_path), Evidence(wrong, real))


@pytest.mark.parametrize(("kind", "named"), [(ForTwo, FIXED), (InOneLayout, "memory layouts differ")])
def test_a_torchscript_file_for_one_batch_or_layout_is_refused(
    kind: type[Classifier], named: str, model: Classifier, evidence: Evidence, tmp_path: Path
) -> None:
    run = export_file("torchscript-fp32", with_weights(kind, model), tmp_path)
    with pytest.raises(ParityError, match=named):
        check_parity("torchscript-fp32", run, evidence)


def test_an_onnx_file_for_one_batch_is_refused(model: Classifier, evidence: Evidence, tmp_path: Path) -> None:
    example = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    torch.onnx.export(
        model,
        (example,),
        tmp_path / "fixed.onnx",
        input_names=["images"],
        output_names=["logits", "probabilities"],
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    with pytest.raises(ParityError, match=FIXED):
        check_parity("onnx-fp32", partial(open_runner, "onnx-fp32", tmp_path / "fixed.onnx"), evidence)


Change = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def changed(model: Classifier, logits: Change = np.array, probabilities: Change = np.array) -> Opener:
    """A file that gives the reference's outputs, changed."""

    def compute(images: Pixels) -> Outputs:
        found = run_reference(model, images)
        return logits(found[0]), probabilities(found[1])

    return lambda target: Runner(compute, "test")


@pytest.mark.parametrize("key", TOLERANCES)
def test_an_output_that_is_not_a_number_is_refused(key: str, model: Classifier, evidence: Evidence) -> None:
    with pytest.raises(ParityError, match="nan"):
        check_parity(key, changed(model, logits=lambda found: found * np.float32(np.nan)), evidence)
    with pytest.raises(ParityError, match="nan"):
        check_parity(key, changed(model, probabilities=lambda found: found * np.float32(np.nan)), evidence)


@pytest.mark.parametrize("key", TOLERANCES)
def test_probabilities_that_are_wrong_in_large_batches_are_refused(
    key: str, model: Classifier, evidence: Evidence
) -> None:
    def compute(images: Pixels) -> Outputs:
        logits, probabilities = run_reference(model, images)
        larger_than_any_in_which_all_are_asked = len(images) > 128
        return logits, probabilities * np.float32(np.nan if larger_than_any_in_which_all_are_asked else 1)

    with pytest.raises(ParityError, match="batch sizes differ by nan"):
        check_parity(key, lambda target: Runner(compute, "test"), evidence)


@pytest.mark.parametrize("key", TOLERANCES)
def test_large_logits_do_not_allow_probabilities_more(key: str, real: ImageSet) -> None:
    """The gate allows logits more where they are large; probabilities are never above 1."""
    loud = Classifier("lenet", num_classes=len(LABELS)).eval()
    *_, head = (module for module in loud.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        head.weight.mul_(1000)
    rows = TOLERANCES[key].rows
    assert rows is not None
    evidence = Evidence(loud, real)
    assert np.abs(evidence.real_outputs[0]).max() > 20

    def compute(images: Pixels) -> Outputs:
        logits, probabilities = run_reference(loud, images)
        return logits, probabilities + np.float32(2 * rows if len(images) == 7 else 0)

    with pytest.raises(ParityError, match="batch sizes differ"):
        check_parity(key, lambda target: Runner(compute, "test"), evidence)


@pytest.mark.parametrize("key", TOLERANCES)
def test_a_file_that_answers_floats_is_refused(key: str, model: Classifier, evidence: Evidence) -> None:
    def compute(images: Pixels) -> Outputs:
        return run_reference(model, images.astype(np.uint8) if images.dtype == np.float32 else images)

    with pytest.raises(ParityError, match=f"{key} answers 9% of what is no batch of uint8 images"):
        check_parity(key, lambda target: Runner(compute, "test"), evidence)


def test_a_file_that_answers_other_heights_is_refused(model: Classifier, evidence: Evidence) -> None:
    def compute(images: Pixels) -> Outputs:
        of_any_height = images.ndim == 4 and images.dtype == np.uint8 and images.shape[2:] == (32, 3)
        return run_reference(model, np.resize(images, (len(images), 32, 32, 3)) if of_any_height else images)

    with pytest.raises(ParityError, match="answers 9% of"):
        check_parity("onnx-fp32", lambda target: Runner(compute, "test"), evidence)


def test_a_file_that_a_wrong_input_spoils_is_refused(model: Classifier, evidence: Evidence) -> None:
    spoilt = False

    def compute(images: Pixels) -> Outputs:
        nonlocal spoilt
        spoilt = spoilt or images.dtype != np.uint8
        logits, probabilities = run_reference(model, images)
        return logits + np.float32(spoilt), probabilities

    with pytest.raises(ParityError, match="logits differ"):
        check_parity("onnx-fp32", lambda target: Runner(compute, "test"), evidence)


def test_a_file_that_cannot_be_opened_is_refused(evidence: Evidence, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ParityError, match=r"onnx-fp32 cannot be opened on cpu \(.*Protobuf parsing failed"):
        check_parity("onnx-fp32", partial(open_runner, "onnx-fp32", tmp_path / "model.onnx"), evidence)


def test_a_file_that_answers_in_another_type_is_refused(model: Classifier, evidence: Evidence) -> None:
    doubled = changed(model, logits=lambda found: found.astype(np.float64))
    with pytest.raises(ParityError, match=r"cannot be run as it must on cpu \(an output float64"):
        check_parity("onnx-fp32", doubled, evidence)


@pytest.mark.parametrize("key", FILES)
def test_outputs_may_differ_by_the_tolerance_and_no_more(key: str, model: Classifier, evidence: Evidence) -> None:
    def off(share: float, allowed: float | None) -> Change:
        assert allowed is not None
        return lambda found: found + np.float32(share * allowed)

    tolerance = TOLERANCES[key]
    check_parity(key, changed(model, off(0.5, tolerance.logit), off(0.5, tolerance.probability)), evidence)
    with pytest.raises(ParityError, match="logits differ"):
        check_parity(key, changed(model, logits=off(2, tolerance.logit)), evidence)
    with pytest.raises(ParityError, match="probabilities differ"):
        check_parity(key, changed(model, probabilities=off(2, tolerance.probability)), evidence)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda found: np.roll(found, 1, axis=1), id="of other labels"),
        pytest.param(lambda found: np.full_like(found, 1 / found.shape[1]), id="the same for all"),
        pytest.param(lambda found: found * np.float32(0.999), id="that add up to less"),
    ],
)
def test_an_int8_file_whose_probabilities_are_not_those_of_its_logits_is_refused(
    change: Change, model: Classifier, evidence: Evidence
) -> None:
    with pytest.raises(ParityError, match="onnx-int8 contradicts itself: its probabilities differ by"):
        check_parity("onnx-int8", changed(model, probabilities=change), evidence)


@pytest.mark.parametrize("factor", [1 / 3, 3.0])
def test_an_int8_file_that_is_not_as_sure_as_the_checkpoint_is_refused(
    factor: float, model: Classifier, real: ImageSet
) -> None:
    loud = with_weights(Classifier, model)
    *_, head = (module for module in loud.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        head.weight.mul_(30)

    def compute(images: Pixels) -> Outputs:
        logits = np.float32(factor) * run_reference(loud, images)[0]
        return logits, loud.calibration.probabilities(logits).astype(np.float32)

    with pytest.raises(ParityError, match="onnx-int8 is not as sure of its answers as the checkpoint"):
        check_parity("onnx-int8", lambda target: Runner(compute, "test"), Evidence(loud, real))


@pytest.mark.parametrize("key", TOLERANCES)
def test_other_labels_are_refused(key: str, model: Classifier, evidence: Evidence) -> None:
    with pytest.raises(ParityError, match=f"{key} does not agree"):
        check_parity(key, changed(model, logits=lambda found: -found), evidence)


def answering(model: Classifier, share: Callable[[Pixels], npt.NDArray[np.bool_]]) -> Opener:
    """A file that gives the images that `share` picks [n] the reference's second label, and the others their first."""

    def compute(images: Pixels) -> Outputs:
        logits, probabilities = run_reference(model, images)
        picked = share(images)
        best, second = np.argsort(-logits, axis=1)[:, :2].T
        rows = np.flatnonzero(picked)
        for output in (logits, probabilities):
            output[rows, best[rows]], output[rows, second[rows]] = (
                output[rows, second[rows]],
                output[rows, best[rows]],
            )
        return logits, probabilities

    return lambda target: Runner(compute, "test")


def one_of(*chosen: Pixels) -> Callable[[Pixels], npt.NDArray[np.bool_]]:
    return lambda images: np.array([any(np.array_equal(image, one) for one in chosen) for image in images], bool)


def with_labels(model: Classifier, real: ImageSet, *, right: bool) -> Evidence:
    """Evidence on which the reference gets every label right, or none, not even with its second guess."""
    logits, _ = run_reference(model, real.images)
    return Evidence(model, ImageSet(real.images, logits.argmax(1) if right else logits.argmin(1), real.classes))


def test_int8_may_give_few_images_another_label_and_lose_little_accuracy(model: Classifier, real: ImageSet) -> None:
    one, two = answering(model, one_of(real.images[0])), answering(model, one_of(real.images[0], real.images[1]))
    right, wrong = with_labels(model, real, right=True), with_labels(model, real, right=False)
    tolerance = TOLERANCES["onnx-int8"]
    assert (tolerance.labels, tolerance.accuracy) == (0.015, 0.003)
    parity = check_parity("onnx-int8", one, wrong).parity
    assert parity.find("labels").difference == 1 / 80
    with pytest.raises(ParityError, match=r"labels differ by 0\.025 \(2 of 80 images\), allowed is 0\.015"):
        check_parity("onnx-int8", two, wrong)
    with pytest.raises(ParityError, match=r"accuracies differ by 0\.0125 \(1 of 80 images\), allowed is 0\.003"):
        check_parity("onnx-int8", one, right)


def test_another_label_for_extreme_images_is_found(model: Classifier, evidence: Evidence) -> None:
    run = answering(model, one_of(*evidence.extremes[:2]))
    with pytest.raises(ParityError, match=r"labels differ by 0\.0227 \(2 of 88 images\), allowed is 0"):
        check_parity("onnx-fp32", run, evidence)


def test_a_tie_that_falls_to_the_other_label_costs_no_accuracy() -> None:
    tied, decided = np.array([[1.00005, 1.0]], np.float32), np.array([[2.0, 1.0]], np.float32)
    right = np.zeros(1, np.int64)
    for logits, lost in ((tied, 0.0), (decided, 1.0)):
        found = (logits[:, ::-1], logits)
        assert compare_accuracies(found, (logits, logits), TOLERANCES["onnx-fp32"], right) == lost


def test_sums_in_another_order_are_no_reason_to_refuse_a_network_that_is_always_right(real: ImageSet) -> None:
    torch.manual_seed(0)
    model = Classifier("lenet", num_classes=len(LABELS)).eval()
    always_right = np.eye(len(LABELS))
    model.calibrate(fit_calibration(always_right, np.arange(len(LABELS))))
    rounding = np.float32(2.5e-6) * np.array([1, -1] * 5, np.float32)  # as large as ONNX Runtime's

    def run(images: Pixels) -> Outputs:
        logits = run_reference(model, images)[0] + rounding
        return logits, model.calibration.probabilities(logits).astype(np.float32)

    check_parity("onnx-fp32", lambda target: Runner(run, "test"), Evidence(model, real))
