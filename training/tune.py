"""Search a recipe's numbers: python -m training.tune [RECIPE] [--trials N]; a stopped study goes on by itself."""

import argparse
import math
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cifar_models.command import Parser, count, run_command
from cifar_models.dataset import ImageSet, default_name, load_images, split_validation
from cifar_models.errors import InputError
from cifar_models.memory import enough_memory
from training.options import DATA, data_option, may_download
from training.recipe import Recipe
from training.recipes import RECIPES
from training.run import make_folder
from training.search import Space, parse_space, usual_space
from training.trainer import Trainer
from training.world import World, local_device

try:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool
except ModuleNotFoundError:
    sys.stderr.write("error: Tuning needs Optuna: pip install -r requirements/tune.txt.\n")
    sys.exit(2)

_FINISHED = {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}  # one that was stopped is tried again


def main() -> None:
    options = parse_options()
    torch.backends.cudnn.benchmark = True  # the shapes of a trial stay the same
    if RECIPES[options.recipe].teachers:
        raise InputError("A search has no teachers; search the recipe of the network alone, such as cifarnet.")
    data = load_images(options.data, "train", download=may_download(options.data))
    recipe = replace(RECIPES[options.recipe], epochs=options.epochs)
    space = parse_space(options.search, recipe) or usual_space(recipe)
    ranges = ", ".join(f"{name} {found.low:g} to {found.high:g}" for name, found in sorted(space.items()))
    name = f"{options.recipe}, {options.epochs} epochs, data {data.fingerprint()[:12]}, {ranges}"
    study = open_study(name, options.out)
    # A seed of its own for each call: with the first call's, a study that goes on would draw the same numbers again.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials), multivariate=True)
    finished = sum(trial.state in _FINISHED for trial in study.trials)
    refusals: list[InputError] = []

    def objective(trial: Any) -> float:
        try:
            return train(draw(recipe, space, trial), data, trial)
        except InputError as error:  # Optuna would write all that led to it
            refusals.append(error)
            study.stop()
            return float("nan")  # the trial failed

    study.optimize(objective, n_trials=max(0, options.trials - finished))
    if refusals:
        raise refusals[0]
    command = ["python", "-m", "training.fit", options.recipe]
    print(report(study, default_name(options.data), [*command, *data_option(options.data)]))


def open_study(name: str, folder: Path) -> Any:
    """The study of that name, with the trials of earlier calls. Raises InputError when the folder cannot keep one."""
    make_folder(folder)
    path = folder / "study.db"
    try:
        return optuna.create_study(
            study_name=name,
            storage=open_storage(path),
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            load_if_exists=True,
        )
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise InputError(f"{path} cannot be used as a study; name another folder with --out.") from error


def open_storage(path: Path) -> Any:
    """Keeps no connection open: one that nobody closes is a warning from Python 3.13 on."""
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"poolclass": NullPool})


def draw(recipe: Recipe, space: Space, trial: Any) -> Recipe:
    numbers: dict[str, Any] = {name: found.draw(trial, name) for name, found in space.items()}
    return replace(recipe, **numbers)


def train(recipe: Recipe, data: ImageSet, trial: Any) -> float:
    """The validation accuracy of the last epoch; TrialPruned when the trial falls behind the others."""
    training, validation = split_validation(data, recipe.validation, recipe.seed)
    trainer = Trainer(recipe, data.subset(training), data.subset(validation), local_device(), World())
    accuracy = 0.0
    way_out = "search smaller ones: --search batch-size=LOW:HIGH"
    with enough_memory(f"{trainer.device} has no memory for batches of {trainer.batch_size}; {way_out}."):
        for epoch in range(recipe.epochs):
            for _ in trainer.train_epoch():
                pass
            losses, _ = trainer.end_epoch()
            loss, accuracy = trainer.validate()
            if not (losses.isfinite().all() and math.isfinite(loss)):
                raise optuna.TrialPruned
            trainer.validation_losses.append(loss)
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
    return accuracy


def report(study: Any, data_name: str, command: list[str]) -> str:
    """The trials in numbers, and the best one's numbers as options of `command`."""
    if not any(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials):
        raise InputError("No trial was finished: they were pruned, or --trials asks for none.")
    best = study.best_trial
    options = [word for name, value in best.params.items() for word in (f"--{name.replace('_', '-')}", written(value))]
    states = [trial.state.name.lower() for trial in study.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    return (
        f"{len(states)} trials: {counts}. Best validation accuracy {best.value:.2%} on {data_name}, "
        "no test image read. Train it:\n"
        f"  {shlex.join([*command, *options])}"
    )


def written(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def parse_options() -> argparse.Namespace:
    parser = Parser(
        prog="python -m training.tune",
        description="Search learning rates and augmentation by short trials, on the validation split alone.",
    )
    parser.add_argument("recipe", nargs="?", default="cifarnet", choices=list(RECIPES), help="default: cifarnet")
    parser.add_argument(
        "--trials", type=count, default=20, help="in all, those of an earlier call included (default: 20)"
    )
    parser.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="a number of the recipe and where to search it, in place of the usual ones; may be given several times",
    )
    parser.add_argument("--epochs", type=count, default=4, help="of each trial (default: 4)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the images (default: data)")
    parser.add_argument("--out", type=Path, default=Path("runs/tune"), help="folder of the study (default: runs/tune)")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main, interrupted="stopped; the same command goes on with the trials that are finished")
