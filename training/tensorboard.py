"""What TensorBoard shows of a run, under the tags of the tutorials where a recipe asks for them.

Each epoch's events are a file of their own, written before the epoch is saved: a run that is killed in between repeats
the epoch and replaces the file, so that TensorBoard shows every epoch once.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils.tensorboard import summary

from cifar_models.atomic import saving
from training.run import EpochMetrics, Run
from training.tags import TAGS, charts
from training.trainer import Trainer

_SAMPLES = 32
_BINS = 64  # of a histogram
_TEST_STEP = 500  # images between two points of the running accuracy, as the tutorial's batches


@contextmanager
def events(folder: Path, part: str) -> Iterator[Callable[[Any, int], None]]:
    """What adds to a part of a run's events, whole or not at all, in place of what was there. Raises InputError.

    It takes a content and its step.
    """
    path = folder / "tensorboard" / f"events.out.tfevents.{part}"
    with saving(path) as partial, partial.open("wb") as file:
        records = RecordWriter(file)

        def write(**fields: Any) -> None:
            records.write(Event(wall_time=time.time(), **fields).SerializeToString())

        write(file_version="brain.Event:2")
        yield lambda content, step: write(summary=content, step=step)


def write_start(run: Run) -> None:
    """The settings, and a grid of training images with their labels in the same order."""
    samples = run.data.sample(_SAMPLES)
    settings = "\n".join(f"- {name}: {value}" for name, value in asdict(run.recipe).items())
    labels = ", ".join(samples.classes[label] for label in samples.labels)
    with events(run.folder, f"{0:05}") as add:
        add(summary.text("settings", settings), 0)
        add(summary.image("samples", samples.images, dataformats="NHWC"), 0)
        add(summary.text("samples", labels), 0)
        if layout := charts(run.recipe.tensorboard):
            add(summary.custom_scalars({"tutorial": layout}), 0)


def write_epoch(run: Run, metrics: EpochMetrics, losses: Tensor, accuracies: Tensor, trainer: Trainer) -> None:
    """Every step of an epoch at the number of images shown by then, the epoch's metrics, and all weights."""
    tags = TAGS[run.recipe.tensorboard]
    with events(run.folder, f"{metrics.epoch:05}") as add:
        for step, (loss, accuracy) in enumerate(zip(losses.tolist(), accuracies.tolist(), strict=True)):
            shown = ((metrics.epoch - 1) * len(losses) + step + 1) * trainer.batch_size * trainer.world.size
            for name, value in (("step_loss", loss), ("step_accuracy", accuracy)):
                add(summary.scalar(tags[name][0], value), shown)
        validated = metrics.epoch * len(run.validation)
        for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr"):
            for tag in tags[name]:
                step = validated if tag.startswith("Validation_Log/") else metrics.epoch
                add(summary.scalar(tag, getattr(metrics, name)), step)
        for name, histogram in histograms(trainer.model.network).items():
            add(summary.histogram_raw(f"weights/{name}", **histogram), metrics.epoch)


@torch.no_grad()
def histograms(network: nn.Module) -> dict[str, dict[str, Any]]:
    """Of every parameter, counted where the weights are: on a GPU, as ten million of them take the CPU a while."""
    found = torch.stack([count_values(parameter.float()) for parameter in network.parameters()]).cpu().numpy()
    names = [name for name, _ in network.named_parameters()]
    return {name: describe_histogram(row) for name, row in zip(names, found, strict=True)}


def count_values(values: Tensor) -> Tensor:
    """Lowest, highest, number, sum, sum of squares, and the numbers in _BINS equal bins: float32 [5 + _BINS]."""
    number = torch.full((), values.numel(), device=values.device)
    figures = torch.stack([values.min(), values.max(), number, values.sum(), values.square().sum()])
    return torch.cat([figures, torch.histc(values, _BINS)])


def describe_histogram(row: np.ndarray[Any, Any]) -> dict[str, Any]:
    low, high, number, total, squares = row[:5].astype(float)
    margin = 1.0 if low == high else 0.0  # as torch.histc has it
    limits = np.linspace(low - margin, high + margin, _BINS + 1)[1:]
    figures = {"min": low, "max": high, "num": number, "sum": total, "sum_squares": squares}
    return {**figures, "bucket_limits": limits.tolist(), "bucket_counts": row[5:].tolist()}


def write_test(folder: Path, tutorial: str, right: Any) -> None:
    """The running accuracy over the test images, where the tutorial shows it; `right`: bool [n]."""
    for tag in TAGS.get(tutorial, {}).get("test_accuracy", ()):
        with events(folder, "test") as add:
            for seen in range(_TEST_STEP, len(right) + _TEST_STEP, _TEST_STEP):
                add(summary.scalar(tag, float(right[:seen].mean())), min(seen, len(right)))
