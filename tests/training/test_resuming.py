"""A training run that goes on with `--resume` as if nothing had stopped it, and those that do not go on."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import OWN_PROCESS, TINY_RECIPE, command
from PIL import Image
from small_runs import EPOCHS, RECIPE, assert_same, contents, kill_after_an_epoch, refusal, too_large, whole_run

from cifar_models.checkpoint import load_checkpoint
from cifar_models.dataset import ImageSet, load_images
from cifar_models.errors import InputError
from training import fit


@pytest.fixture(scope="module")
def whole(shared: Path, tiny_data: Path) -> Path:
    return whole_run(shared, tiny_data)


@pytest.fixture(scope="module")
def killed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, killed when it had reported its first epoch."""
    folder = tmp_path_factory.mktemp("runs") / "killed"
    kill_after_an_epoch(*RECIPE, "--data", tiny_data, "--out", folder)
    assert 1 <= load_checkpoint(folder / "last.pt").epoch < EPOCHS
    return folder


def test_a_killed_run_goes_on_as_if_it_had_not_been(killed: Path, whole: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    done = command("training.fit", *RECIPE, "--resume", "--data", tiny_data, "--out", folder, **OWN_PROCESS)
    assert f"python -m export {folder / 'best.pt'}" in done.stdout  # the next command
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == EPOCHS
    assert_same(load_checkpoint(folder / "last.pt"), load_checkpoint(whole / "last.pt"))
    assert_same(load_checkpoint(folder / "best.pt"), load_checkpoint(whole / "best.pt"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="sums on CUDA may differ from run to run in their last bits")
def test_the_default_network_goes_on_as_if_it_had_not_stopped(tiny_data: Path, tmp_path: Path) -> None:
    few = shutil.copytree(tiny_data, tmp_path / "data", ignore=shutil.ignore_patterns("00[5-9].png", "01?.png"))
    small = ("--model", "cifarnet", "--batch-size", "10", "--epochs", "3")  # four steps in each
    line = (*TINY_RECIPE, *small, "--data", few, "--data-name", "tiny")
    command("training.fit", *line, "--out", tmp_path / "whole")
    kill_after_an_epoch(*line, "--out", tmp_path / "killed")
    command("training.fit", *line, "--out", tmp_path / "killed", "--resume")
    assert_same(load_checkpoint(tmp_path / "killed" / "last.pt"), load_checkpoint(tmp_path / "whole" / "last.pt"))


def test_a_finished_run_has_nothing_to_resume(whole: Path, tiny_data: Path) -> None:
    before = contents(whole)
    command("training.fit", *RECIPE, "--resume", "--data", tiny_data, "--out", whole)
    assert contents(whole) == before


def test_resuming_on_other_data_is_refused(killed: Path, tiny_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tiny_data, tmp_path / "data")
    Image.new("RGB", (32, 32)).save(data / "train" / "cat" / "007.png")
    assert "other images" in refusal(killed, "--resume", *RECIPE, "--data", data)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--resume", "--lr", "0.01"), "lr was 0.05"),
        (("--resume", "--data-name", "others"), "calls its data 'images in"),
        ((), "--resume"),
    ],
)
def test_a_run_is_not_mixed_with_another(killed: Path, tiny_data: Path, options: tuple[str, ...], words: str) -> None:
    assert words in refusal(killed, *RECIPE, *options, "--data", tiny_data)


def test_a_run_that_would_hold_out_other_images_does_not_go_on(killed: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    saved = load_checkpoint(folder / "last.pt")
    replace(saved, validation=(saved.validation + 1) % 200).save(folder / "last.pt")
    line = refusal(folder, "--resume", *RECIPE, "--data", tiny_data)
    assert "holds out other images" in line
    assert saved.source_revision in line


@pytest.mark.parametrize(
    ("what", "words"),
    [("torch.load", "There is no memory to read "), ("torch.optim.SGD.load_state_dict", "cpu has no memory to go on")],
)
def test_a_checkpoint_for_which_there_is_no_memory_is_not_called_damaged(
    killed: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    monkeypatch.setattr(what, too_large)
    assert refusal(killed, "--resume", *RECIPE, "--data", tiny_data).startswith(words)


def test_a_run_whose_disk_had_room_for_its_best_checkpoint_only_goes_on_from_there(
    killed: Path, whole: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    (folder / "last.pt").unlink()
    command("training.fit", *RECIPE, "--resume", "--data", tiny_data, "--out", folder)
    assert_same(load_checkpoint(folder / "last.pt"), load_checkpoint(whole / "last.pt"))


def test_a_checkpoint_that_holds_its_network_twice_as_all_did_is_gone_on_with(
    killed: Path, whole: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    saved = load_checkpoint(folder / "last.pt")
    saved.training_state["network"] = {name.removeprefix("network."): each for name, each in saved.weights.items()}
    saved.save(folder / "last.pt")
    command("training.fit", *RECIPE, "--resume", "--data", tiny_data, "--out", folder)
    assert_same(load_checkpoint(folder / "last.pt"), load_checkpoint(whole / "last.pt"))


@pytest.mark.parametrize("folder", ["empty", "none"])
def test_nothing_is_resumed_where_there_is_nothing(tiny_data: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    assert "begin it without --resume" in refusal(tmp_path / folder, "--resume", *RECIPE, "--data", tiny_data)
    assert not (tmp_path / "none").exists()


def test_a_run_that_lost_its_last_checkpoint_keeps_its_best(killed: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    (folder / "last.pt").unlink()
    assert "holds a run already" in refusal(folder, *RECIPE, "--data", tiny_data)


def test_a_run_that_another_process_made_meanwhile_is_not_written_over(
    killed: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def load_while_another_trains(*arguments: Any, **options: Any) -> ImageSet:
        shutil.copytree(killed, folder)
        return load_images(*arguments, **options)

    monkeypatch.setattr("training.fit.load_images", load_while_another_trains)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")  # where a run that was there from the start is gone on with
    monkeypatch.setattr(sys, "argv", ["fit", *RECIPE, "--data", str(tiny_data), "--out", str(folder)])
    with pytest.raises(InputError, match="holds a run already"):
        fit.main()
    assert list(contents(folder).values()) == list(contents(killed).values())


@pytest.mark.parametrize(("part", "changed"), [("weights", torch.zeros(1)), ("history", 0.0), ("training_state", None)])
def test_what_is_of_a_network_that_is_built_otherwise_is_refused(
    killed: Path, tiny_data: Path, tmp_path: Path, part: str, changed: Any
) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    saved = load_checkpoint(folder / "last.pt")
    parts = {"weights": saved.weights, "history": saved.history[0], "training_state": saved.training_state}
    parts[part]["optimizers"] = changed
    saved.save(folder / "last.pt")
    assert "does not fit lenet" in refusal(folder, "--resume", *RECIPE, "--data", tiny_data)


@pytest.mark.parametrize("damage", ["truncated", "empty", "trap"])
def test_a_damaged_checkpoint_is_refused(killed: Path, tiny_data: Path, tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    whole = (folder / "last.pt").read_bytes()
    trap = b"cos\nmkdir\n(V%b\ntR." % bytes(tmp_path / "sprung")  # calls os.mkdir when it is unpickled
    (folder / "last.pt").write_bytes({"truncated": whole[: len(whole) // 2], "trap": trap}.get(damage, b""))
    assert str(folder / "last.pt") in refusal(folder, "--resume", *RECIPE, "--data", tiny_data)
    assert not (tmp_path / "sprung").exists()


def test_a_run_that_diverges_later_keeps_its_last_good_epoch(killed: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    good = load_checkpoint(folder / "last.pt")
    for group in good.training_state["optimizers"][0]["param_groups"]:
        group["peak_lr"] = 1e30
    good.save(folder / "last.pt")
    assert "--lr" in refusal(folder, "--resume", *RECIPE, "--data", tiny_data)
