"""A training run as a user sees it: `python -m training.fit`, the run folder it leaves, and what it refuses."""

import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OWN_PROCESS, ROOT, TINY_EPOCHS, TINY_MODEL, TINY_RECIPE, command, started
from PIL import Image
from torch.testing import assert_close

from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.command import run_command
from cifar_models.dataset import ImageSet, load_images, split_validation
from cifar_models.errors import InputError
from cifar_models.registry import list_models
from export.__main__ import BUNDLE_NAME
from training import fit
from training.recipes import RECIPES
from training.run import Run

EPOCHS = 20
SMALL = ("--model", "lenet", "--device", "cpu", "--batch-size", "25", "--validation", "0.2")
RECIPE = (*SMALL, "--epochs", str(EPOCHS))
WRONG = [
    *("resnet9000", "--learning-rate=1", "--flip sideways", "--epochs many", "--epochs 0", "--batch-size 0"),
    *("--model resnet-20", "--device gpu", "--device meta", "--device hpu", f"--seed {2**64}", "--crop 32"),
    *("--mom=0.5", "--lerning 3", "--optimzer sgd", "--cutout 64", "--device cuda:99999999999999", "--device cuda:01"),
    *(f"--{name} inf" for name in ("lr", "filter-lr", "weight-decay", "teacher-temperature", "momentum")),
    *(
        "--lr nan",
        "--momentum 1",
        "--momentum 5",
        "--warmup 1",
        "--label-smoothing 1",
        "--cutmix 1.5",
        "--validation 0",
        "--validation 1",
    ),
    *("--validation 0.001", "--validation 0.999"),  # of the 40 images of a class none, or all
    *(f"--{name} -1" for name in ("epochs", "batch-size", "lr", "filter-lr", "momentum", "weight-decay", "warmup")),
    *(f"--{name} -1" for name in ("label-smoothing", "crop", "cutout", "cutmix", "validation", "seed")),
]


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small network that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    command("training.fit", *RECIPE, "--data", tiny_data, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def killed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, killed when it had reported its first epoch."""
    folder = tmp_path_factory.mktemp("runs") / "killed"
    kill_after_an_epoch(*RECIPE, "--data", tiny_data, "--out", folder)
    assert 1 <= load_checkpoint(folder / "last.pt").epoch < EPOCHS
    return folder


def kill_after_an_epoch(*options: str | Path) -> None:
    with started("training.fit", *options) as process:
        assert any(output.startswith("epoch   1 ") for output in process.stdout)
        process.send(signal.SIGKILL)


def test_a_run_leaves_its_best_and_last_epoch_and_the_metrics_of_all(tiny_run: Path) -> None:
    lines = [json.loads(line) for line in (tiny_run / "metrics.jsonl").read_text().splitlines()]
    best, last = load_checkpoint(tiny_run / "best.pt"), load_checkpoint(tiny_run / "last.pt")
    assert [line["epoch"] for line in lines] == list(range(1, TINY_EPOCHS + 1))
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert (last.history, best.history) == (lines, lines[: best.epoch])
    # Of epochs that are right as often, the one that is surest of it.
    assert lines[best.epoch - 1] == max(lines, key=lambda line: (line["validation_accuracy"], -line["validation_loss"]))


def test_the_checkpoint_says_where_it_comes_from(tiny_run: Path, tiny_data: Path) -> None:
    saved, data = load_checkpoint(tiny_run / "best.pt"), load_images(tiny_data, "train")
    assert (saved.architecture, saved.data_name) == (TINY_MODEL, "tiny")
    assert (saved.recipe["epochs"], saved.recipe["lr"]) == (TINY_EPOCHS, RECIPES["cifarnet"].lr)
    assert (saved.labels, saved.data_fingerprint) == (list(data.classes), data.fingerprint())
    assert np.array_equal(saved.validation, split_validation(data, 0.2, 0)[1])


def test_the_run_says_in_its_folder_what_it_was_asked_to_do(tiny_run: Path, tiny_data: Path) -> None:
    record = json.loads((tiny_run / "recipe.json").read_text())
    saved = load_checkpoint(tiny_run / "last.pt")
    assert record["recipe"] == saved.recipe
    assert record["source_revision"] == saved.source_revision
    assert record["data"]["sha256"] == saved.data_fingerprint
    assert (record["data"]["training_images"], record["data"]["validation_images"]) == (160, 40)
    assert shlex.split(record["command"])[:3] == ["python", "-m", "training.fit"]
    assert {"--data", str(tiny_data), *TINY_RECIPE} <= set(shlex.split(record["command"]))


@pytest.mark.parametrize(("name", "bound"), [("tiny_run", 0.5), ("whole", 0.9)])
def test_a_run_learns_to_classify(request: pytest.FixtureRequest, tiny_data: Path, name: str, bound: float) -> None:
    model = load_checkpoint(request.getfixturevalue(name) / "best.pt").classifier()
    test = load_images(tiny_data, "test")
    with torch.inference_mode():
        _, probabilities = model(torch.from_numpy(test.images))
    assert (probabilities.argmax(1).numpy() == test.labels).mean() > bound  # by chance: 0.1


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
    command("training.fit", *line, "--out", tmp_path / "killed", "--resume", **OWN_PROCESS)
    assert_same(load_checkpoint(tmp_path / "killed" / "last.pt"), load_checkpoint(tmp_path / "whole" / "last.pt"))


@pytest.mark.skipif(
    not (shutil.which("c++") and Path(sysconfig.get_path("include"), "Python.h").exists()),
    reason="torch.compile needs a C++ compiler and Python's headers: g++ and python3-dev",
)
def test_a_compiled_network_trains_to_the_same(
    whole: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint is one of the network, not of the compiler's wrapper."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "0")  # else it compiles a program for each set of instructions first
    command("training.fit", *RECIPE, "--compile", "--data", tiny_data, "--out", tmp_path / "run")
    plain, compiled = load_checkpoint(whole / "best.pt"), load_checkpoint(tmp_path / "run" / "best.pt")
    assert set(compiled.weights) == set(plain.weights)
    assert compiled.history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=0.02)


def test_a_finished_run_has_nothing_to_resume(whole: Path, tiny_data: Path) -> None:
    before = contents(whole)
    command("training.fit", *RECIPE, "--resume", "--data", tiny_data, "--out", whole)
    assert contents(whole) == before


def test_training_never_opens_the_test_images(tiny_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tiny_data, tmp_path / "data", ignore=shutil.ignore_patterns("test"))
    command("training.fit", *SMALL, "--epochs", "1", "--data", data, "--out", tmp_path / "run")


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


def too_large(*_: object, **__: object) -> None:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")  # torch's own


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


@pytest.mark.parametrize("name", ["my run", "tiny", "_läuft!", "…"])
def test_the_next_commands_can_be_pasted(tiny_data: Path, tmp_path: Path, name: str) -> None:
    run = Run(
        folder=tmp_path / name, recipe=RECIPES["cifarnet"], data=load_images(tiny_data, "train"), data_name="tiny"
    )
    evaluate, export = (shlex.split(line) for line in fit.next_commands(run, tiny_data).splitlines())
    assert evaluate == ["python", "-m", "training.evaluate", str(tmp_path / name), "--data", str(tiny_data)]
    assert export[3] == str(tmp_path / name / "best.pt")
    assert BUNDLE_NAME.fullmatch(Path(export[export.index("--out") + 1]).name)


@pytest.mark.parametrize("folder", ["empty", "none"])
def test_nothing_is_resumed_where_there_is_nothing(tiny_data: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    assert "begin it without --resume" in refusal(tmp_path / folder, "--resume", *RECIPE, "--data", tiny_data)
    assert not (tmp_path / "none").exists()


def test_a_run_that_cannot_be_looked_for_is_not_called_missing(tiny_data: Path, tmp_path: Path) -> None:
    options = ("--resume", "--data", tiny_data, "--out", tmp_path / ("x" * 300))
    assert "cannot be read (File name too long)" in command("training.fit", *RECIPE, *options, check=False).stderr


def test_a_compiler_that_is_not_there_is_said_in_one_line(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    line = ("training.fit", *SMALL, "--epochs", "1", "--compile", "--data", tiny_data, "--out", tmp_path / "run")
    done = command(*line, check=False)
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert "/no/such/compiler" in said
    assert said.endswith("or train without --compile.")


def test_a_reader_who_has_left_before_a_short_output_is_noticed_too() -> None:
    line = [sys.executable, "-m", "training.fit", "--list"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(line, cwd=ROOT, env=buffered, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_reader_who_leaves_ends_the_run_without_a_traceback(tiny_data: Path, tmp_path: Path) -> None:
    with started("training.fit", *RECIPE, "--data", tiny_data, "--out", tmp_path / "run") as process:
        process.stdout.close()
        assert process.wait() == 141
        assert process.errors == ""
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 1


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


def test_weights_of_a_network_that_is_built_otherwise_are_refused(
    killed: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    saved = load_checkpoint(folder / "last.pt")
    saved.weights.popitem()
    saved.save(folder / "last.pt")
    assert "does not fit lenet" in refusal(folder, "--resume", *RECIPE, "--data", tiny_data)


def test_a_batch_of_one_image_is_refused_where_batch_norm_needs_more(tiny_data: Path, tmp_path: Path) -> None:
    options = ("--model", "batchnorm_net", "--batch-size", "1", "--epochs", "1", "--device", "cpu", "--data", tiny_data)
    assert "--batch-size must be at least 2" in refusal(tmp_path / "run", *options)


@pytest.mark.parametrize("damage", ["truncated", "empty", "trap"])
def test_a_damaged_checkpoint_is_refused(killed: Path, tiny_data: Path, tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    whole = (folder / "last.pt").read_bytes()
    trap = b"cos\nmkdir\n(V%b\ntR." % bytes(tmp_path / "sprung")  # calls os.mkdir when it is unpickled
    (folder / "last.pt").write_bytes({"truncated": whole[: len(whole) // 2], "trap": trap}.get(damage, b""))
    assert str(folder / "last.pt") in refusal(folder, "--resume", *RECIPE, "--data", tiny_data)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("batch_size", ["25", "160"])  # 160: one step, so only the validation can see what it did
def test_a_run_that_diverges_at_once_saves_no_epoch(tiny_data: Path, tmp_path: Path, batch_size: str) -> None:
    options = ("--batch-size", batch_size, "--lr", "1e30", "--data", tiny_data)
    done = command("training.fit", *RECIPE, *options, "--out", tmp_path / "run", check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "(peak 1e+30)" in line
    assert {path.name for path in contents(tmp_path / "run")} == {"recipe.json", "events.out.tfevents.00000"}


def test_a_run_that_diverges_later_keeps_its_last_good_epoch(killed: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    good = load_checkpoint(folder / "last.pt")
    for group in good.training_state["optimizers"][0]["param_groups"]:
        group["peak_lr"] = 1e30
    good.save(folder / "last.pt")
    assert "--lr" in refusal(folder, "--resume", *RECIPE, "--data", tiny_data)


def test_a_run_folder_that_is_a_file_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    refusal(tmp_path / "run", *SMALL, "--epochs", "1", "--data", tiny_data)


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


def test_help_names_every_model_and_the_next_command() -> None:
    text = command("training.fit", "--help").stdout
    assert {*list_models(), "runs/<name>/best.pt"} <= set(text.replace(",", " ").split())


def refusal(folder: Path, *options: str | Path) -> str:
    """The one line with which the command refuses; whatever the run folder holds stays as it is.

    It runs in this process, which spares loading torch.
    """
    before = contents(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["fit", *map(str, options), "--out", str(folder)])
        with pytest.raises(InputError) as error:
            fit.main()
    assert contents(folder) == before
    (line,) = str(error.value).splitlines()
    return line


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    """Bit for bit, but for the seconds that it took."""
    for left, right in zip(one.history, other.history, strict=True):
        assert {**left, "seconds": 0} == {**right, "seconds": 0}
    assert_close(one.weights, other.weights, rtol=0, atol=0)
    assert_close(one.training_state, other.training_state, rtol=0, atol=0)
