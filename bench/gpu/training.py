"""A recipe at full length, by the commands that a user has: python -m training.fit, python -m training.evaluate."""

import hashlib
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.gpu.context import Context
from bench.gpu.limits import count_cost
from bench.gpu.record import Outcome
from bench.serving.server import ROOT
from cifar_models.checkpoint import load_checkpoint
from training.recipe import Recipe
from training.recipes import RECIPES
from training.run import EpochMetrics, has_checkpoint, read_metrics
from training.schedule import should_stop

# What the tutorials state, on the original images; those of 000 and 001 were chosen on their test images.
PUBLISHED = {"seed000-alexnet": 0.779, "seed000-resnet50": 0.792, "seed001": 0.606, "seed004": 0.869}
TEACHER = "resnet18"  # the recipe whose run the distilled ones learn from
GOAL = 0.94  # of the validation images

_MINIATURE = ("--epochs", "1", "--batch-size", "50", "--validation", "0.2")
_EVALUATION_SECONDS = 60  # that a step keeps for it
_SAVING_SECONDS = 60  # that a run gets to save itself when it is stopped


class Unfinished(Exception):
    """A run that is not at its end, and why."""


def inputs(context: Context, recipe: str) -> dict[str, Any]:
    teacher = {"teacher": asdict(RECIPES[TEACHER])} if RECIPES[recipe].teachers else {}
    return {"recipe": asdict(RECIPES[recipe]), **teacher, "data": str(context.data_name or context.data.name)}


def run(context: Context, recipe: str) -> Outcome:
    folder = folder_of(context, recipe)
    if context.again and (folder / "report.json").exists():  # and not while a call before this one is gone on with
        shutil.rmtree(folder)
    try:
        folder = train(context, recipe)
        command(context, "training.evaluate", folder, "--data", context.data, log=folder)
    except Unfinished as error:
        return Outcome({}, [str(error)])
    except subprocess.TimeoutExpired:
        return Outcome({}, ["it is trained, but not evaluated; the same step goes on with that"])
    return Outcome(figures_of(folder))


def folder_of(context: Context, recipe: str) -> Path:
    """Of its run: one for each recipe, device, data and set of versions, as the figures are of one of each."""
    told = {**context.common_inputs(), **inputs(context, recipe), "miniature": context.miniature}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return context.work / f"{recipe}-{digest[:8]}"


def train(context: Context, recipe: str) -> Path:
    """The folder of the finished run; one that was stopped goes on. Raises Unfinished."""
    folder = folder_of(context, recipe)
    overrides = _MINIATURE if context.miniature else ()
    if is_finished(context, recipe):
        return folder
    if RECIPES[recipe].teachers and not is_finished(context, TEACHER):
        raise Unfinished(
            f"it learns from a finished run of the recipe {TEACHER}, and there is none; run that step first, "
            "with --again where it is done"
        )
    name = ("--data-name", context.data_name) if context.data_name else ()
    resume = ("--resume",) if has_checkpoint(folder) else ()
    where = ("--data", context.data, "--out", folder, "--device", context.device)
    teacher = ("--teachers", folder_of(context, TEACHER) / "best.pt") if RECIPES[recipe].teachers else ()
    try:
        command(context, "training.fit", recipe, *where, *name, *teacher, *resume, *overrides, log=folder)
    except subprocess.TimeoutExpired as error:
        done = load_checkpoint(folder / "last.pt").epoch if (folder / "last.pt").exists() else 0
        raise Unfinished(f"{done} epochs are done and saved; the same step goes on with the next ones") from error
    return folder


def is_finished(context: Context, recipe: str) -> bool:
    """Whether its run has all its epochs, or stopped early as its recipe says."""
    path = folder_of(context, recipe) / "last.pt"
    if not path.exists():
        return False
    last, epochs = load_checkpoint(path), 1 if context.miniature else RECIPES[recipe].epochs
    losses = [metrics["validation_loss"] for metrics in last.history]
    return last.epoch >= epochs or should_stop(losses, last.recipe["early_stop"])


def command(context: Context, module: str, *arguments: str | Path, log: Path) -> None:
    """Run `python -m MODULE` into LOG.log. Raises Unfinished when it fails, TimeoutExpired when it was stopped."""
    log.parent.mkdir(parents=True, exist_ok=True)
    path = log.parent / f"{log.name}.log"
    seconds = context.seconds_left - (_EVALUATION_SECONDS if module == "training.fit" else 0)
    with path.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, stdout=output, stderr=output
        )
        try:
            code = process.wait(None if seconds == float("inf") else max(1.0, seconds))
        except BaseException:
            process.terminate()  # training.fit saves, and goes on with --resume
            try:
                process.wait(_SAVING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if code:
        lines = path.read_text(errors="replace").splitlines()
        raise Unfinished(f"`python -m {module}` ended with {code}: {lines[-1] if lines else 'no output'}")


def figures_of(folder: Path) -> dict[str, Any]:
    """Of a run that was evaluated."""
    history, report = read_metrics(folder), json.loads((folder / "report.json").read_text())
    checkpoint = load_checkpoint(folder / "best.pt")
    recipe = Recipe(**checkpoint.recipe)
    epoch_seconds = statistics.median(metrics.seconds for metrics in history[1:] or history)
    labels = len(checkpoint.labels)
    teachers = [load_checkpoint(Path(path)).architecture for path in recipe.teachers.split(",") if path]
    cost = sum((count_cost(each, labels, backward=False) for each in teachers), count_cost(recipe.model, labels))
    return {
        "data": report["data"],
        "epochs": len(history),
        "chosen": report["epoch"],
        "test_accuracy": report["test"]["accuracy"],
        "test_interval": report["test"]["accuracy_interval_95"],
        "seconds": sum(metrics.seconds for metrics in history),
        "epoch_seconds": epoch_seconds,  # validation included; of the later epochs, as the first one warms up
        "images_per_second": images_shown(recipe, report["validation"]["images"]) / epoch_seconds,
        "seconds_to_goal": seconds_to(GOAL, history),
        **{f"{name}_per_image": value for name, value in asdict(cost).items()},
    }


def images_shown(recipe: Recipe, held_out: int) -> int:
    """In one epoch, when `held_out` images are the recipe's share."""
    views = (3 if recipe.tripled else 1) * round(held_out / recipe.validation * (1 - recipe.validation))
    return views // recipe.batch_size * recipe.batch_size


def seconds_to(accuracy: float, history: list[EpochMetrics]) -> float | None:
    """Seconds of training until the validation accuracy first was as high."""
    passed = 0.0
    for metrics in history:
        passed += metrics.seconds
        if metrics.validation_accuracy >= accuracy:
            return passed
    return None
