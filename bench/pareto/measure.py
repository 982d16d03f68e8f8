"""Speed and size of architectures with fresh weights, exported as a bundle's are.

Both depend on the network, not on what it learned.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.engines import BATCH, rate
from bench.pareto.accuracies import Accuracy
from export.architectures import fresh_classifier
from export.formats import FORMATS, open_runner
from export.golden import smooth_images
from export.int8_file import export_int8
from export.onnx_file import export_onnx
from export.runner import Runner, Target

_CALIBRATION = 64  # images made by a formula: ranges change no speed


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One architecture. Images a second are medians."""

    architecture: str
    parameters: int
    int8_images_per_second: float
    fp32_images_per_second: float
    int8_bytes: int
    fp32_bytes: int  # weights stored as float16
    trained: Accuracy | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """An architecture's exported files, loaded."""

    parameters: int
    runners: dict[str, Runner]  # by "onnx-int8" and "onnx-fp32"
    bytes: dict[str, int]


def export_fresh(name: str, folder: Path, threads: int) -> Files:
    model = fresh_classifier(name)
    paths = {key: folder / f"{name}-{FORMATS[key].file}" for key in ("onnx-int8", "onnx-fp32")}
    graph = export_onnx(model, paths["onnx-fp32"], {})
    export_int8(graph, smooth_images(_CALIBRATION), paths["onnx-int8"], {})
    return Files(
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        runners={key: open_runner(key, path, Target(threads=threads)) for key, path in paths.items()},
        bytes={key: path.stat().st_size for key, path in paths.items()},
    )


def measure(files: dict[str, Files], accuracies: dict[str, Accuracy], seconds: float, rounds: int) -> list[Point]:
    """All take turns in every round, so that what disturbs one disturbs the others."""
    rates: dict[tuple[str, str], list[float]] = {(name, key): [] for name in files for key in files[name].runners}
    for _ in range(rounds):
        for name, key in rates:
            rates[name, key].append(rate(files[name].runners[key], BATCH, seconds))
    return [
        Point(
            architecture=name,
            parameters=found.parameters,
            int8_images_per_second=statistics.median(rates[name, "onnx-int8"]),
            fp32_images_per_second=statistics.median(rates[name, "onnx-fp32"]),
            int8_bytes=found.bytes["onnx-int8"],
            fp32_bytes=found.bytes["onnx-fp32"],
            trained=accuracies.get(name),
        )
        for name, found in files.items()
    ]


def front(points: Sequence[Point]) -> set[str]:
    """The trained architectures that none surpasses: as accurate on validation, as fast and as small, and not equal."""
    merits = {
        point.architecture: (point.trained.validation, point.int8_images_per_second, -point.int8_bytes)
        for point in points
        if point.trained
    }
    return {
        name
        for name, own in merits.items()
        if not any(other != own and all(a >= b for a, b in zip(other, own, strict=True)) for other in merits.values())
    }
