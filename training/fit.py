"""Train one model by a recipe: python -m training.fit [RECIPE] [--data DIR] [--resume] [--FIELD VALUE ...]."""

import argparse
import math
import re
import time
import typing
from dataclasses import fields, replace
from pathlib import Path

import torch
from tqdm import tqdm

from cifar_models.dataset import load_images
from cifar_models.errors import InputError, run_command
from cifar_models.registry import find_model, list_models
from training.recipe import RECIPES, Recipe
from training.run import EpochMetrics, Run
from training.trainer import Trainer

_EPILOG = f"""
A first run, on the images in data/ (CIFAR-10 is downloaded there when the folder is empty):
  python -m training.fit                               the default network, the recipe of the bundle that ships
  python -m training.fit --epochs 2 --run runs/try     the same, two epochs only: a look around
  python -m training.fit --model resnet20              another network by the same recipe
A run that was stopped goes on with --resume. What comes out is runs/<name>/best.pt; next:
  python -m export runs/<name>/best.pt --out models/<name>

models: {", ".join(list_models())}
"""


def main() -> None:
    options = parse_options()
    recipe = override(RECIPES[options.recipe], options)
    find_model(recipe.model)
    device = pick_device(options.device)
    folder = options.run or Path("runs") / recipe.model
    if not options.resume and (folder / "last.pt").exists():
        raise InputError(f"{folder} holds a run already: continue it with --resume, or name another folder with --run.")
    data = load_images(options.data, "train")
    run = Run(folder=folder, recipe=recipe, data=data, data_name=options.data_name or f"images in {options.data.name}")
    trainer = Trainer(recipe, *run.split(), device)
    run.open()
    if options.resume:
        run.resume(trainer)
    fit(trainer, run)
    print(f"\nThe best epoch is {run.best}. Next:")
    print(f"  python -m export {run.best} --out models/{folder.name} --data {options.data}")


def fit(trainer: Trainer, run: Run) -> None:
    """Train what is left of the recipe's epochs, saving after each."""
    while trainer.epoch < run.recipe.epochs:
        metrics = fit_epoch(trainer)
        run.save(trainer, metrics)
        print(metrics, flush=True)


def fit_epoch(trainer: Trainer) -> EpochMetrics:
    started = time.monotonic()
    losses = []
    steps = trainer.steps_per_epoch
    title = f"epoch {trainer.epoch + 1}/{trainer.recipe.epochs}"
    with tqdm(total=steps * trainer.batch_size, desc=title, unit="img", disable=None, leave=False) as bar:
        for loss in trainer.train_epoch():
            losses.append(loss)
            bar.update(trainer.batch_size)
    train_loss = torch.stack(losses).mean().item()
    validation_loss, validation_accuracy = trainer.validate()
    if not math.isfinite(train_loss + validation_loss):
        raise InputError(
            f"After epoch {trainer.epoch} the loss is {train_loss} on training images, {validation_loss} on validation "
            f"images: the run diverged. What was saved is intact; try a lower --lr (now {trainer.recipe.lr:g}) or "
            f"--filter-lr (now {trainer.recipe.filter_lr:g})."
        )
    return EpochMetrics(trainer.epoch, train_loss, validation_loss, validation_accuracy, time.monotonic() - started)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.fit",
        description="Train a network by a recipe, on CUDA where there is a device and on the CPU otherwise.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", default="cifarnet", choices=sorted(RECIPES), help="default: cifarnet")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the images (default: data)")
    parser.add_argument("--data-name", help="how figures shall name these data, such as 'CIFAR-10'")
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/<model>)")
    parser.add_argument("--resume", action="store_true", help="go on after the last epoch that was saved")
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: cuda where there is one)")
    add_recipe_options(parser.add_argument_group("fields of the recipe, to override"))
    return parser.parse_args()


def add_recipe_options(group: argparse._ArgumentGroup) -> None:
    """One option for each field of a recipe, with the field's own type, choices and text."""
    for name, annotation in typing.get_type_hints(Recipe, include_extras=True).items():
        kind, text = typing.get_args(annotation)
        choices = typing.get_args(kind) or None
        flag = "--" + name.replace("_", "-")
        group.add_argument(flag, type=str if choices else kind, choices=choices, metavar=metavar(kind), help=text)


def metavar(kind: typing.Any) -> str:
    return "|".join(typing.get_args(kind)) or {str: "NAME", int: "N", float: "X"}[kind]


def override(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    given = {field.name: getattr(options, field.name) for field in fields(Recipe)}
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def pick_device(name: str | None) -> torch.device:
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"--device {name} cannot be trained on; use cpu, cuda or cuda:0.")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices here; use --device cpu."
        )
    return device


if __name__ == "__main__":
    run_command(main)
