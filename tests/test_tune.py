"""A search by Optuna: `python -m training.tune`, which goes on where it stopped and reads no test image."""

import shutil
import sys
from pathlib import Path

import pytest
from conftest import command

from training.fit import parse_options
from training.options import override
from training.recipes import RECIPES

optuna = pytest.importorskip("optuna", reason="needs Optuna: pip install -r requirements/tune.txt")

RECIPE = "seed003-lenet"


@pytest.fixture(scope="module")
def searched(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a study, and what was printed of its two trials and then of a third."""
    folder = tmp_path_factory.mktemp("tuned")
    shutil.copytree(tiny_data / "train", folder / "data" / "train")  # and no test folder
    options = ("training.tune", RECIPE, "--epochs", "1", "--data", folder / "data", "--out", folder / "study")
    return folder / "study", [command(*options, "--trials", trials).stdout for trials in ("2", "3")]


def test_a_second_search_goes_on_with_the_first_one_s_trials(searched: tuple[Path, list[str]]) -> None:
    first, second = searched[1]
    assert first.startswith("2 trials: 2 complete.")
    assert second.startswith("3 trials: 3 complete.")
    storage = f"sqlite:///{searched[0] / 'study.db'}"
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    assert len(study.trials) == 3
    assert len({trial.params["lr"] for trial in study.trials}) == 3
    assert f"Best validation accuracy {max(trial.value for trial in study.trials):.2%}" in second


def test_the_best_trial_is_a_command_that_can_be_run(
    searched: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = searched[1][-1].splitlines()[-1].split()
    assert words[:4] == ["python", "-m", "training.fit", RECIPE]
    monkeypatch.setattr(sys, "argv", words[2:])
    recipe = override(RECIPES[RECIPE], parse_options())
    assert RECIPES[RECIPE].lr / 8 <= recipe.lr <= RECIPES[RECIPE].lr * 8
    assert 0 <= recipe.label_smoothing <= 0.2
    assert (recipe.model, recipe.epochs) == ("lenet", RECIPES[RECIPE].epochs)
