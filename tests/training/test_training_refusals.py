"""What `python -m training.fit` refuses, and a run that fails at once."""

import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from conftest import command
from small_runs import RECIPE, SMALL, contents, refusal

from cifar_models.command import run_command
from training import fit
from training.recipe import Recipe

WRONG = [
    *("resnet9000", "--learning-rate=1", "--flip sideways", "--epochs many", "--epochs 0", "--batch-size 0"),
    *("--model resnet-20", "--device gpu", "--device meta", "--device hpu", f"--seed {2**64}", "--crop 32"),
    *("--mom=0.5", "--lerning 3", "--optimzer sgd", "--cutout 64", "--device cuda:99999999999999", "--device cuda:01"),
    *(f"--{name} inf" for name in ("lr", "filter-lr", "weight-decay", "teacher-temperature", "momentum")),
    *(f"--{field.name.replace('_', '-')} nan" for field in fields(Recipe) if isinstance(field.default, float)),
    *("--momentum 1", "--momentum 5", "--warmup 1", "--label-smoothing 1", "--ema 1", "--cutmix 1.5"),
    *("--teacher-weight 1.5", "--teacher-temperature 0", "--validation 0", "--validation 1"),
    *("--validation 0.001", "--validation 0.999"),  # of the 40 images of a class none, or all
    *(f"--{name} -1" for name in ("epochs", "batch-size", "lr", "filter-lr", "momentum", "weight-decay", "warmup")),
    *(f"--{name} -1" for name in ("label-smoothing", "crop", "cutout", "cutmix", "validation", "seed")),
]
IDLE = [  # what has no effect beside the rest
    *("--optimizer sgd --filter-lr 0.1", "--optimizer adam --filter-lr 0.1", "--optimizer adam --momentum 0.5"),
    *("--optimizer adam --weight-decay 0.1", "--optimizer adam --no-nesterov", "--schedule constant --warmup 0.2"),
    *("--step-epoch 2", "--plateau-patience 2", "--teacher-weight 0.5", "--teacher-temperature 2"),
    *("--teachers best.pt --teacher-weight 1 --label-smoothing 0.2", "seed002-lenet --nesterov"),
]


def test_a_run_that_cannot_be_looked_for_is_not_called_missing(tiny_data: Path, tmp_path: Path) -> None:
    options = ("--resume", "--data", tiny_data, "--out", tmp_path / ("x" * 300))
    assert "cannot be read (File name too long)" in command("training.fit", *RECIPE, *options, check=False).stderr


def test_a_compiler_that_is_not_there_is_said_in_one_line(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    line = ("training.fit", *SMALL, "--epochs", "1", "--compile", "--data", tiny_data, "--out", tmp_path / "run")
    done = command(*line, check=False)
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert "(No working C++ compiler found" in said  # why, not only what it needs
    assert said.endswith("or train without --compile.")


def test_a_batch_of_one_image_is_refused_where_batch_norm_needs_more(tiny_data: Path, tmp_path: Path) -> None:
    options = ("--model", "batchnorm_net", "--batch-size", "1", "--epochs", "1", "--device", "cpu", "--data", tiny_data)
    assert "--batch-size must be at least 2" in refusal(tmp_path / "run", *options)


@pytest.mark.parametrize("batch_size", ["25", "160"])  # 160: one step, so only the validation can see what it did
def test_a_run_that_diverges_at_once_saves_no_epoch(tiny_data: Path, tmp_path: Path, batch_size: str) -> None:
    options = ("--batch-size", batch_size, "--lr", "1e30", "--data", tiny_data)
    done = command("training.fit", *RECIPE, *options, "--out", tmp_path / "run", check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "(peak 1e+30)" in line
    assert {path.name for path in contents(tmp_path / "run")} == {"recipe.json", "events.out.tfevents.00000"}


@pytest.mark.parametrize("name", ["two\nlines", b"\xff".decode(errors="surrogateescape")])
def test_a_name_of_the_data_that_no_line_can_hold_is_refused_before_they_are_read(tmp_path: Path, name: str) -> None:
    line = refusal(tmp_path / "run", *SMALL, "--epochs", "1", "--data", tmp_path / "none", "--data-name", name)
    assert f"{name!r} in a line of text; give them another --data-name" in line


def test_a_run_folder_that_is_a_file_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    refusal(tmp_path / "run", *SMALL, "--epochs", "1", "--data", tiny_data)


@pytest.mark.parametrize("options", IDLE)
def test_an_option_without_effect_is_refused_but_where_a_run_goes_on(tmp_path: Path, options: str) -> None:
    *_, last = re.findall(r"--(?:no-)?([a-z-]+)", options)
    line: tuple[str | Path, ...] = ("--data", tmp_path / "none", *options.split())
    assert refusal(tmp_path, *line).startswith(f"{last.replace('-', '_')} changes nothing in this recipe, as it needs ")
    assert "begin it without --resume" in refusal(tmp_path, *line, "--resume")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_option_is_refused_with_its_name_and_its_value(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    rest = [*SMALL, "--epochs", "1", "--data", str(tiny_data), "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["fit", *rest, *wrong.split()])  # of an option given twice the second wins
    with pytest.raises(SystemExit) as ended:
        run_command(fit.main)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert all(word.lstrip("-") in line.replace("_", "-") for word in wrong.split())
    assert not (tmp_path / "run").exists()
