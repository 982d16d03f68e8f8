"""A checkpoint to a bundle: every file is made, compared with the reference, and measured."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch

from cifar_models.bundle import MANIFEST, open_bundle, sha256
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.manifest import Artifact, Evaluation, File, Input, Manifest, Origin, Split
from cifar_models.metrics import accuracy, expected_calibration_error, negative_log_likelihood
from export.description import describe
from export.folder import replacing_folder
from export.golden import golden_images
from export.int8_file import export_int8
from export.onnx_file import export_onnx
from export.parity import Evidence, ParityError, check_parity, check_rounding
from export.reference import build_reference, weights_sha256
from export.runner import FILES, Runner, open_runner, run_in_batches
from export.source import Source
from export.torchscript_file import export_torchscript

_GOLDEN = "golden.npz"

Report = Callable[[str], object]


def export_bundle(source: Source, folder: Path, report: Report = print) -> Manifest:
    """Make the bundle `folder`; an older one there is replaced only when every gate has passed.

    An int8 file that loses too much is left out, and `report` told why. Raises ParityError when another file disagrees
    with the checkpoint.
    """
    model = build_reference(source.checkpoint, source.validation)
    rounding = check_rounding(source.checkpoint.classifier(), model, source.validation)
    with replacing_folder(folder) as partial:
        write_files(model, source, partial, folder.name)
        exported = check_files(model, source, partial, report)
        manifest = Manifest(
            name=folder.name,
            architecture=source.checkpoint.architecture,
            parameters=sum(parameter.numel() for parameter in model.network.parameters()),
            labels=source.checkpoint.labels,
            input=Input.model_validate({"mean": source.checkpoint.mean, "std": source.checkpoint.std}),
            temperature=model.temperature.item(),
            weights_sha256=weights_sha256(model),
            rounding=rounding,
            origin=describe_origin(source),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={module.__name__: module.__version__ for module in (torch, onnx, onnxscript, onnxruntime)},
            golden=write_golden(exported, partial / _GOLDEN),
            artifacts=[artifact for artifact, _ in exported],
        )
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
        open_bundle(partial)
    return manifest


def write_files(model: Classifier, source: Source, folder: Path, name: str) -> None:
    """Write every format. Each holds the same description of itself."""
    checkpoint = source.checkpoint
    description = describe(
        name=name,
        architecture=checkpoint.architecture,
        labels=checkpoint.labels,
        mean=checkpoint.mean,
        std=checkpoint.std,
        temperature=model.temperature.item(),
        weights_sha256=weights_sha256(model),
        trained_on=checkpoint.data_name,
        source_revision=checkpoint.source_revision,
    )
    graph = export_onnx(model, folder / FILES["onnx-fp32"], description)
    export_int8(graph, source.calibration.images, folder / FILES["onnx-int8"], description)
    export_torchscript(model, folder / FILES["torchscript-fp32"], description)


def check_files(model: Classifier, source: Source, folder: Path, report: Report) -> list[tuple[Artifact, Runner]]:
    evidence = Evidence(model, source.validation)
    exported = []
    for key, name in FILES.items():
        run = open_runner(key, folder / name)
        try:
            artifact = check_file(key, run, folder / name, source, evidence)
        except ParityError as error:
            if key != "onnx-int8":
                raise
            (folder / name).unlink()
            report(f"No {name}: {error}")
        else:
            report(summarise(artifact))
            exported.append((artifact, run))
    return exported


def check_file(key: str, run: Runner, path: Path, source: Source, evidence: Evidence) -> Artifact:
    """Compare and measure one file. Raises ParityError."""
    format_, _, precision = key.partition("-")
    return Artifact.model_validate(
        {
            **describe_file(path).model_dump(),
            "format": format_,
            "precision": precision,
            "parity": check_parity(key, run, evidence),
            "evaluations": [
                evaluate(run, source.validation, source.checkpoint.data_name, "validation"),
                evaluate(run, source.test, source.checkpoint.data_name, "test"),
            ],
        }
    )


def evaluate(run: Runner, images: ImageSet, data: str, split: Split) -> Evaluation:
    """What a file gets right of labelled images, one view each."""
    _, probabilities = run_in_batches(run, images.images)
    return Evaluation(
        data=data,
        split=split,
        images=len(images),
        accuracy=accuracy(probabilities, images.labels),
        ece=expected_calibration_error(probabilities, images.labels),
        nll=negative_log_likelihood(probabilities, images.labels),
    )


def write_golden(exported: list[tuple[Artifact, Runner]], path: Path) -> File:
    """Store the golden images and, for each file, the probabilities that it gives here."""
    images = golden_images()
    probabilities = {artifact.key: run(images)[1] for artifact, run in exported}
    np.savez_compressed(path, allow_pickle=False, images=images, **probabilities)
    return describe_file(path)


def describe_file(path: Path) -> File:
    return File(file=path.name, sha256=sha256(path), bytes=path.stat().st_size)


def describe_origin(source: Source) -> Origin:
    checkpoint = source.checkpoint
    return Origin(
        recipe=checkpoint.recipe,
        epoch=checkpoint.epoch,
        data=checkpoint.data_name,
        data_fingerprint=checkpoint.data_fingerprint,
        training_images=len(source.training) - len(checkpoint.validation),
        validation_images=len(checkpoint.validation),
        source_revision=checkpoint.source_revision,
    )


def summarise(artifact: Artifact) -> str:
    test = artifact.evaluations[-1]
    return (
        f"{artifact.file:22} {artifact.bytes / 1e6:5.1f} MB   logits within {artifact.parity.max_abs_logit:.1e}   "
        f"same label {artifact.parity.top1_agreement:.2%}   test accuracy {test.accuracy:.2%}   ECE {test.ece:.2%}"
    )
