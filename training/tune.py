"""Search a recipe's numbers: python -m training.tune [RECIPE] [--trials N]; a stopped study goes on by itself."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cifar_models.dataset import ImageSet, load_images, split_validation
from cifar_models.errors import InputError, run_command
from training.recipe import Recipe
from training.recipes import RECIPES
from training.trainer import Trainer
from training.world import World, local_device

try:
    import optuna
except ModuleNotFoundError:
    sys.stderr.write("error: Tuning needs Optuna: pip install -r requirements/tune.txt.\n")
    sys.exit(2)


def main() -> None:
    options = parse_options()
    data = load_images(options.data, "train")
    recipe = replace(RECIPES[options.recipe], epochs=options.epochs)
    options.out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=f"{options.recipe}, {options.epochs} epochs, data {data.fingerprint()[:12]}",
        storage=f"sqlite:///{options.out / 'study.db'}",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
        load_if_exists=True,
    )
    # A seed of its own for each call: with the first call's, a study that goes on would draw the same numbers again.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials), multivariate=True)
    finished = sum(trial.state.is_finished() for trial in study.trials)
    study.optimize(lambda trial: train(suggest(recipe, trial), data, trial), n_trials=max(0, options.trials - finished))
    print(report(study, options.recipe))


def suggest(recipe: Recipe, trial: Any) -> Recipe:
    """The recipe with other numbers: rates within a factor of 8, the rest within what the literature uses."""
    numbers: dict[str, Any] = {
        "lr": trial.suggest_float("lr", recipe.lr / 8, recipe.lr * 8, log=True),
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2, step=0.05),
        "crop": trial.suggest_int("crop", 0, 4),
        "cutout": trial.suggest_int("cutout", 0, 16, step=4),
    }
    if recipe.optimizer == "muon":
        numbers["filter_lr"] = trial.suggest_float("filter_lr", recipe.filter_lr / 8, recipe.filter_lr * 8, log=True)
    return replace(recipe, **numbers)


def train(recipe: Recipe, data: ImageSet, trial: Any) -> float:
    """The validation accuracy of the last epoch; TrialPruned when the trial falls behind the others."""
    training, validation = split_validation(data.labels, recipe.validation, recipe.seed)
    trainer = Trainer(recipe, data.subset(training), data.subset(validation), local_device(), World())
    accuracy = 0.0
    for epoch in range(recipe.epochs):
        for _ in trainer.train_epoch():
            pass
        losses, _ = trainer.end_epoch()
        if not losses.isfinite().all():
            raise optuna.TrialPruned
        loss, accuracy = trainer.validate()
        trainer.validation_losses.append(loss)
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def report(study: Any, recipe: str) -> str:
    if not any(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials):
        raise InputError("No trial was finished: they were pruned, or --trials asks for none.")
    best = study.best_trial
    options = " ".join(f"--{name.replace('_', '-')} {value:.4g}" for name, value in best.params.items())
    states = [trial.state.name.lower() for trial in study.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    return (
        f"{len(states)} trials: {counts}. Best validation accuracy {best.value:.2%}, no test image read. Train it:\n"
        f"  python -m training.fit {recipe} {options}"
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.tune",
        description="Search learning rates and augmentation by short trials, on the validation split alone.",
    )
    parser.add_argument("recipe", nargs="?", default="cifarnet", choices=list(RECIPES), help="default: cifarnet")
    parser.add_argument(
        "--trials", type=int, default=20, help="in all, those of an earlier call included (default: 20)"
    )
    parser.add_argument("--epochs", type=int, default=4, help="of each trial (default: 4)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the images (default: data)")
    parser.add_argument("--out", type=Path, default=Path("runs/tune"), help="folder of the study (default: runs/tune)")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
