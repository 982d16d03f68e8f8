"""A search by Optuna: `python -m training.tune`, which goes on where it stopped and reads no test image."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import command
from small_runs import too_large

from cifar_models.command import run_command
from training.fit import parse_options
from training.options import override
from training.recipes import RECIPES
from training.search import parse_space, usual_space
from training.trainer import Trainer

optuna = pytest.importorskip("optuna", reason="needs Optuna: pip install -r requirements/tune.txt")

from training import tune  # noqa: E402  (it ends the process where Optuna is missing)

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
    storage = tune.open_storage(searched[0] / "study.db")
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    assert len(study.trials) == 3
    assert len({trial.params["lr"] for trial in study.trials}) == 3
    assert f"Best validation accuracy {max(trial.value for trial in study.trials):.2%} on images in data," in second


def test_the_best_trial_is_a_command_that_can_be_run(
    searched: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = searched[1][-1].splitlines()[-1].split()
    assert words[:4] == ["python", "-m", "training.fit", RECIPE]
    assert words[words.index("--crop") + 1].isdigit()
    monkeypatch.setattr(sys, "argv", words[2:])
    options = parse_options()
    assert options.data == searched[0].parent / "data"
    recipe = override(RECIPES[RECIPE], options)
    assert RECIPES[RECIPE].lr / 8 <= recipe.lr <= RECIPES[RECIPE].lr * 8
    assert 0 <= recipe.label_smoothing <= 0.2
    assert (recipe.model, recipe.epochs) == ("lenet", RECIPES[RECIPE].epochs)


def test_cudnn_may_choose_the_fastest_kernels_for_a_trial(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []

    def validate(trainer: Trainer) -> tuple[float, float]:
        found.append(torch.backends.cudnn.benchmark)
        return 0.0, 0.0

    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(Trainer, "validate", validate)
    options = ("--epochs", "1", "--trials", "1", "--data", str(tiny_data), "--out", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["tune", RECIPE, *options])
    tune.main()
    assert found == [True]


def test_a_trial_that_was_stopped_is_made_up_for(searched: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder = shutil.copytree(searched[0].parent, tmp_path / "tuned")
    storage = tune.open_storage(folder / "study" / "study.db")
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)  # as Ctrl-C leaves it
    options = ("training.tune", RECIPE, "--epochs", "1", "--data", folder / "data", "--out", folder / "study")
    assert command(*options, "--trials", "4").stdout.startswith("5 trials: 4 complete, 1 fail.")


def test_a_trial_that_falls_behind_is_not_finished(tiny_data: Path, tmp_path: Path) -> None:
    options = ("--search", "lr=1e-6:1", "--search", "batch-size=4:4", "--epochs", "3", "--trials", "8")
    done = command("training.tune", RECIPE, *options, "--data", tiny_data, "--out", tmp_path)
    found = re.match(r"8 trials: (\d+) complete, (\d+) pruned\.", done.stdout)
    assert found, done.stdout
    assert all(int(count) > 0 for count in found.groups())


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("lr=1e30:1e31", "No trial was finished"),  # each diverges
        ("validation=0.0001:0.001", "would hold out 0 of the 20 images"),
    ],
)
def test_a_search_that_can_find_nothing_ends_in_one_line(
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    search: str,
    words: str,
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells of each trial otherwise
    assert words in refusal(monkeypatch, capsys, "--search", search, "--data", tiny_data, "--out", tmp_path)


def test_the_ranges_that_are_asked_for_take_the_place_of_the_usual_ones() -> None:
    recipe = RECIPES[RECIPE]
    assert set(usual_space(recipe)) == {"lr", "label_smoothing", "crop", "cutout", "cutmix", "weight_decay", "momentum"}
    study = optuna.create_study()
    space = parse_space(["batch-size=32:512", "momentum=0.5:0.6"], recipe)
    for _ in range(20):
        trial = study.ask()
        drawn = {name: found.draw(trial, name) for name, found in space.items()}
        assert set(drawn) == {"batch_size", "momentum"}
        assert isinstance(drawn["batch_size"], int)
        assert 32 <= drawn["batch_size"] <= 512
        assert 0.5 <= drawn["momentum"] <= 0.6
    assert len({trial.params["batch_size"] for trial in study.trials}) > 10


@pytest.mark.parametrize(
    "wrong",
    [
        "depth=1:2",
        "model=1:2",
        "lr",
        "lr=1",
        "lr=low:high",
        "lr=2:1",
        "lr=-1:1",
        "batch-size=0:9",
        "crop=0.4:16",
        "lr=0:inf",
        "warmup=0:0.5",  # of a constant rate
    ],
)
def test_an_impossible_range_is_refused_in_one_line(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    assert wrong.split("=")[0].replace("-", "_") in refusal(
        monkeypatch, capsys, "--search", wrong, "--data", tiny_data, "--out", tmp_path / "study"
    )
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("taken", ["folder", "study"])
def test_a_study_that_cannot_be_kept_is_refused_in_one_line(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], taken: str
) -> None:
    out = tmp_path / "out"
    path = out if taken == "folder" else out / "study.db"
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine, and no data base")
    assert f"{path} cannot be" in refusal(monkeypatch, capsys, "--data", tiny_data, "--out", out)
    assert path.read_text() == "mine, and no data base"


def test_a_search_of_batches_for_which_there_is_no_memory_advises_one_of_smaller_ones(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monkeypatch.setattr(Trainer, "validate", too_large)
    line = refusal(
        monkeypatch, capsys, "--search", "batch-size=25:25", "--data", tiny_data, "--out", tmp_path / "study"
    )
    assert line.endswith("no memory for batches of 25; search smaller ones: --search batch-size=LOW:HIGH.")


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str | Path) -> str:
    """The one line with which a search is refused."""
    monkeypatch.setattr(sys, "argv", ["tune", RECIPE, "--epochs", "1", "--trials", "1", *map(str, options)])
    with pytest.raises(SystemExit) as ended:
        run_command(tune.main)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    return line


def test_a_recipe_with_teachers_is_refused_before_anything_is_made(tiny_data: Path, tmp_path: Path) -> None:
    line = ("cifarnet-distilled", "--data", tiny_data, "--out", tmp_path / "study")
    done = command("training.tune", *line, check=False)
    assert done.returncode == 2
    assert "has no teachers" in done.stderr
    assert not (tmp_path / "study").exists()
