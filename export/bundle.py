"""A checkpoint to a bundle: every file is made, compared with the reference, and measured."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript
import safetensors
import torch

from cifar_models.bundle import open_bundle, sha256, write_manifest
from cifar_models.classifier import Classifier
from cifar_models.manifest import Artifact, File, Input, Manifest
from cifar_models.revision import source_revision
from cifar_models.selective import describe_selection
from export.archive import rewrite_archive
from export.card import write_card
from export.cuda import check_cuda
from export.description import describe
from export.evaluation import evaluate
from export.figures import size_text
from export.folder import replacing_folder
from export.formats import FORMATS, SERVED, measured_on_test, open_runner
from export.golden import golden_images
from export.int8_file import export_int8
from export.onnx_file import export_onnx
from export.parity import Evidence, ParityError, check_parity, check_rounding
from export.reference import build_reference, weights_sha256
from export.runner import Runner
from export.safetensors_file import export_safetensors
from export.source import Source
from export.torch_export_file import export_torch_export
from export.torchscript_file import export_torchscript

_CARD = "README.md"
_GOLDEN = "golden.npz"
_PACKAGES = (torch, onnx, onnxscript, onnxruntime, safetensors)

Report = Callable[[str], object]
tell = partial(print, flush=True)


def export_bundle(
    source: Source,
    folder: Path,
    *,
    cuda: bool,
    formats: Sequence[str],
    license_: str | None = None,
    report: Report = tell,
) -> Manifest:
    """Make the bundle `folder`; an older one there is replaced only when every gate has passed.

    With `cuda` the files are compared on this machine's CUDA device too. `license_` is an SPDX identifier, which files
    and card then state. An int8 file that loses too much is left out, and `report` told why, unless it is the only one
    that could be served. Raises ParityError when another file disagrees with the checkpoint, and InputError when the
    folder cannot be written.
    """
    with replacing_folder(folder) as made:
        model = build_reference(source.checkpoint, source.validation)
        evidence = Evidence(model, source.validation)
        known: dict[str, Any] = {
            "name": folder.name,
            "license": license_,
            "architecture": source.checkpoint.architecture,
            "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
            "labels": source.checkpoint.labels,
            "input": Input.model_validate({"mean": source.checkpoint.mean, "std": source.checkpoint.std}),
            **asdict(model.calibration),
            "weights_sha256": weights_sha256(model),
            "rounding": check_rounding(source.checkpoint.classifier(), evidence),
            "origin": source.origin,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {module.__name__: module.__version__ for module in _PACKAGES},
            "export_revision": source_revision(),
        }
        write_files(model, source, made, formats, describe(Manifest.model_construct(**known)))  # it has no files yet
        exported = check_files(evidence, source, made, formats, cuda=cuda, report=report)
        artifacts = [artifact for artifact, _ in exported]
        manifest = Manifest(**known, golden=write_golden(exported, made / _GOLDEN), artifacts=artifacts)
        write_card(manifest, made / _CARD)
        manifest = manifest.model_copy(update={"card": describe_file(made / _CARD)})
        write_manifest(manifest, made)
        return open_bundle(made).manifest


def write_files(
    model: Classifier, source: Source, folder: Path, formats: Sequence[str], description: dict[str, str]
) -> None:
    """Write every format. Each holds the same `description` of itself."""
    paths = {key: folder / FORMATS[key].file for key in formats}
    if paths.keys() & {"onnx-fp32", "onnx-int8"}:
        whole = folder / FORMATS["onnx-fp32"].file
        graph = export_onnx(model, whole, description)
        if "onnx-int8" in paths:
            export_int8(graph, source.calibration.images, paths["onnx-int8"], description)
        if "onnx-fp32" not in paths:
            whole.unlink()  # it was wanted for its graph alone
    if "torchscript-fp32" in paths:
        export_torchscript(model, paths["torchscript-fp32"], description)
        rewrite_archive(paths["torchscript-fp32"])
    if "torch-export-fp32" in paths:
        export_torch_export(model, paths["torch-export-fp32"], description)
        rewrite_archive(paths["torch-export-fp32"])
    if "safetensors-fp32" in paths:
        export_safetensors(model, paths["safetensors-fp32"], description)


def check_files(
    evidence: Evidence, source: Source, folder: Path, formats: Sequence[str], *, cuda: bool, report: Report
) -> list[tuple[Artifact, Runner]]:
    exported = []
    tested = measured_on_test(formats)
    for key in formats:
        path = folder / FORMATS[key].file
        try:
            artifact, run = check_file(key, path, source, evidence, cuda=cuda, tested=key in tested)
        except ParityError as error:
            if key != "onnx-int8" or not SERVED & {*formats} - {key}:
                raise
            path.unlink()
            report(f"No {path.name}: {error}")
        else:
            report(f"{path.name:22} {size_text(artifact.bytes):>8}   agrees")
            for missing in artifact.cuda_unproved:
                report(f"{path.name} is not proved on CUDA in {missing.arithmetic}: {missing.reason}")
            exported.append((artifact, run))
    return exported


def check_file(
    key: str, path: Path, source: Source, evidence: Evidence, *, cuda: bool, tested: bool
) -> tuple[Artifact, Runner]:
    """Compare and measure one file. Raises ParityError."""
    format_, _, precision = key.rpartition("-")
    opener = partial(open_runner, key, path)
    agreement = check_parity(key, opener, evidence)
    proved, unproved = check_cuda(key, opener, evidence) if cuda else ([], [])
    data, validation, test = source.checkpoint.data_name, source.validation, source.test
    on_test = agreement.run.in_batches(test.images) if tested else None
    evaluations = [evaluate(agreement.outputs, validation, data, "validation")]
    if on_test is not None:
        evaluations.append(evaluate(on_test, test, data, "test"))
    artifact = Artifact.model_validate(
        {
            **describe_file(path).model_dump(),
            "format": format_,
            "precision": precision,
            "parity": agreement.parity,
            "cuda_parity": proved,
            "cuda_unproved": unproved,
            "evaluations": evaluations,
            "selective": describe_selection(
                (agreement.outputs[1], validation.labels), None if on_test is None else (on_test[1], test.labels)
            ),
        }
    )
    return artifact, agreement.run


def write_golden(exported: list[tuple[Artifact, Runner]], path: Path) -> File:
    """Store the golden images and, for each file, the probabilities that it gives here."""
    images = golden_images()
    probabilities = {artifact.key: run(images)[1] for artifact, run in exported}
    np.savez_compressed(path, allow_pickle=False, images=images, **probabilities)
    return describe_file(path)


def describe_file(path: Path) -> File:
    return File(file=path.name, sha256=sha256(path), bytes=path.stat().st_size)
