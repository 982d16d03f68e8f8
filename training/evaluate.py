"""Evaluate a run: python -m training.evaluate runs/NAME [--data DIR]: report.json and report.html in its folder.

Of another checkpoint than its best.pt, such as runs/NAME/last.pt, the report is report-last.json and report-last.html.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from cifar_models.atomic import saving
from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.command import Parser, run_command
from cifar_models.dataset import ImageSet, Indices
from cifar_models.errors import InputError
from training.charts import confusion_chart, curves, learning_rate_curve, reliability_diagram
from training.evaluation import Evaluation, describe_repeats, evaluate
from training.options import DATA
from training.page import page, picture, section, table
from training.run import EpochMetrics, read_metrics
from training.tensorboard import write_test
from training.world import local_device

_ACCURACY = (
    "Intervals: 95 %, Wilson. Arrows: before and after calibration. Mean of labels: each counts the same, however many "
    "images it has."
)
_WRONG_SHOWN = 24
_MISTAKES_SHOWN = 10


def main() -> None:
    parser = Parser(
        prog="python -m training.evaluate",
        description="Measure a run's best epoch, or another checkpoint of it, on its validation split and on the test "
        "images, and write a report beside it.",
    )
    parser.add_argument("run", type=Path, help="folder of the run, such as runs/cifarnet, or a checkpoint in it")
    parser.add_argument("--data", type=Path, default=DATA, help="the data it was trained on (default: data)")
    options = parser.parse_args()
    path = find_checkpoint(options.run)
    checkpoint, is_best = load_checkpoint(path), path.name == "best.pt"
    if steps := checkpoint.training_state["step"]:
        raise InputError(
            f"{path} is of a run that was stopped {steps} steps into epoch {checkpoint.epoch + 1}; go on with it by "
            "--resume first, or evaluate best.pt."
        )
    history = read_metrics(path.parent)
    chosen_by = "validation accuracy" if is_best else f"its name, {path.name}"
    training, test = checkpoint.load_training_images(options.data), checkpoint.load_test_images(options.data)
    held_out = checkpoint.validation.numpy()
    validation, repeats = training.subset(held_out), count_repeats(training, held_out, test)
    calibration, evaluations = evaluate(checkpoint, validation, test, local_device())
    report: dict[str, Any] = {
        "checkpoint": str(path),
        "epoch": checkpoint.epoch,
        "data": checkpoint.data_name,
        "chosen_by": f"{chosen_by}; the test images chose nothing",
        **asdict(calibration),
        "recipe": checkpoint.recipe,
        "repeats": repeats,
        **{evaluation.split: evaluation.report() for evaluation in evaluations},
    }
    html = render(checkpoint, history, report, evaluations)
    written = path.parent / ("report" if is_best else f"report-{path.stem}")
    for suffix, text in ((".json", json.dumps(report, indent=2) + "\n"), (".html", html)):
        with saving(written.with_name(written.name + suffix)) as partial:
            partial.write_text(text, encoding="utf-8")  # as the page says of itself, whatever the locale
    if is_best:
        write_test(path.parent, checkpoint.recipe.get("tensorboard", "plain"), evaluations[-1].right)
    for evaluation in evaluations:
        print(summary(report[evaluation.split], checkpoint.data_name))
    for warning in warnings(repeats):
        print(warning)
    print(f"\nThe whole report: {written}.html")


def find_checkpoint(run: Path) -> Path:
    """The checkpoint that is meant by a run's folder or by its own path."""
    return run if run.suffix == ".pt" and not os.path.isdir(run) else run / "best.pt"


def count_repeats(training: ImageSet, held_out: Indices, test: ImageSet) -> dict[str, int]:
    """How many images of a split stand in the training images too; of the held-out ones, in the rest of them."""
    learned = training.subset(np.delete(np.arange(len(training)), held_out))
    return {"validation": training.subset(held_out).count_in(learned), "test": test.count_in(training)}


def summary(part: dict[str, Any], data_name: str) -> str:
    split, images, accuracy, interval, nll, ece = cells(part)
    text = f"{split:10} accuracy {accuracy} ({interval})   NLL {nll}   ECE {ece}   {images} images: {data_name}"
    return text.replace("→", "->")  # not every terminal has it


def warnings(repeats: dict[str, int]) -> list[str]:
    """What makes the figures better than they are."""
    return [describe_repeats(split, count) for split, count in repeats.items() if count]


def cells(part: dict[str, Any]) -> list[str]:
    """Split, images, accuracy, its interval, NLL and ECE."""
    low, high = part["accuracy_interval_95"]
    nll, ece = part["nll"], part["ece"]
    return [
        part["split"],
        str(part["images"]),
        f"{part['accuracy']:.2%}",
        f"{low:.2%} to {high:.2%}",
        f"{nll['before']:.4f} → {nll['after']:.4f}",
        f"{ece['before']:.2%} → {ece['after']:.2%}",
    ]


def render(
    checkpoint: Checkpoint, history: list[EpochMetrics], report: dict[str, Any], evaluations: list[Evaluation]
) -> str:
    test = evaluations[-1]
    return page(
        f"{checkpoint.architecture} on {checkpoint.data_name}",
        f"<p>Epoch {checkpoint.epoch}, chosen by {escape(report['chosen_by'])}. "
        f"Probabilities at temperature {report['temperature']:.3f}, sharpened by {report['sharpening']:.3f} for a "
        "margin of 1, both fitted on validation; one view of each image.</p>",
        section(
            "Accuracy",
            figures(report),
            *(f'<p class="warning">{warning}</p>' for warning in warnings(report["repeats"])),
            note=_ACCURACY,
        ),
        section(
            "Training",
            *(curves(history, what, chosen=checkpoint.epoch) for what in ("loss", "accuracy")),
            learning_rate_curve(history),
            note=f"Every epoch of the run; the grey line is epoch {checkpoint.epoch}, which this report is of.",
        ),
        section(
            "Confidence", reliability_diagram(test.reliability), note="Test images. On the dashed line it is honest."
        ),
        section(
            "Labels",
            class_table(report["test"]),
            confusion_chart(test.confusion, test.images.classes),
            mistake_table(test.confusion, test.images.classes),
        ),
        section("Most confidently wrong", *wrong_pictures(test), note="Test images whose wrong answer is surest."),
        section("Recipe", table(["field", "value"], [[name, str(value)] for name, value in checkpoint.recipe.items()])),
    )


def figures(report: dict[str, Any]) -> str:
    splits = [report[split] for split in ("validation", "test")]
    rows = [[*cells(part), f"{part['mean_recall']:.2%}"] for part in splits]
    return table(["split", "images", "accuracy", "interval", "NLL", "ECE", "mean of labels"], rows)


def class_table(part: dict[str, Any]) -> str:
    rows = []
    for name, figures in part["classes"].items():
        low, high = figures["recall_interval_95"]
        rows.append(
            [
                name,
                f"{figures['recall']:.1%}",
                f"{low:.1%} to {high:.1%}",
                f"{figures['precision']:.1%}",
                str(figures["images"]),
            ]
        )
    return table(["label", "right", "interval", "precision", "images"], rows)


def mistake_table(counts: Any, classes: Sequence[str]) -> str:
    """Which labels are taken for which, the most frequent first: what a chart of many labels cannot say."""
    wrong = counts * ~np.eye(len(classes), dtype=bool)
    shares = wrong / np.maximum(counts.sum(1, keepdims=True), 1)
    pairs = [divmod(int(place), len(classes)) for place in np.argsort(-wrong, axis=None, kind="stable")]
    rows = [
        [classes[label], classes[answer], str(wrong[label, answer]), f"{shares[label, answer]:.1%}"]
        for label, answer in pairs[:_MISTAKES_SHOWN]
        if wrong[label, answer]
    ]
    return table(["label", "taken for", "images", "of the label's"], rows) if rows else ""


def wrong_pictures(test: Evaluation) -> list[str]:
    classes, labels = test.images.classes, test.images.labels
    return [
        picture(
            test.images.images[index],
            f"{classes[labels[index]]}, called {classes[test.probabilities[index].argmax()]} "
            f"at {test.probabilities[index].max():.1%}",
        )
        for index in test.most_confidently_wrong(_WRONG_SHOWN)
    ]


if __name__ == "__main__":
    run_command(main)
