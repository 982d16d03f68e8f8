"""What TensorBoard reads of a run: the seeds' tags, steps that go on from epoch to epoch, weights, samples."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import few_images
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from training.loop import fit
from training.recipe import Recipe
from training.recipes import RECIPES
from training.run import EpochMetrics, Run
from training.stop import StopRequest
from training.tensorboard import write_start
from training.trainer import Trainer
from training.world import World

EPOCHS, BATCH, STEPS, VALIDATED = 3, 10, 8, 20  # 80 of 100 images are trained on
PLAIN = {
    *("step/loss", "step/accuracy", "epoch/train_loss", "epoch/train_accuracy"),
    *("epoch/validation_loss", "epoch/validation_accuracy", "epoch/lr"),
}
SEED_000 = {
    *("Train_Log/Loss", "Train_Log/Accuracy", "Episode_Log/Train_Loss", "Episode_Log/Train_Acc"),
    *("Episode_Log/Valid_Loss", "Episode_Log/Valid_Acc", "lr"),
    *("Validation_Log/Valid_Loss", "Validation_Log/Valid_Acc"),
}
TAGS = {  # the tutorials' own; "valid" is what the two called "test" that chose by it
    "seed001": PLAIN,
    "seed000-alexnet": SEED_000,
    "seed003-lenet": PLAIN - {"step/loss", "step/accuracy", "epoch/validation_accuracy"}
    | {"running_loss", "train batch acc", "validation acc"},
    "seed004": PLAIN - {"epoch/train_loss", "epoch/validation_loss", "epoch/validation_accuracy"}
    | {"Train Loss", "Valid Loss", "Valid Accuracy"}
    | {"Train Loss and Valid Loss/Train", "Train Loss and Valid Loss/Valid"},
}
FIELDS = {
    "seed001": {
        "epoch/train_loss": "train_loss",
        "epoch/train_accuracy": "train_accuracy",
        "epoch/validation_loss": "validation_loss",
        "epoch/validation_accuracy": "validation_accuracy",
        "epoch/lr": "lr",
    },
    "seed000-alexnet": {
        "Episode_Log/Train_Loss": "train_loss",
        "Episode_Log/Train_Acc": "train_accuracy",
        "Episode_Log/Valid_Loss": "validation_loss",
        "Episode_Log/Valid_Acc": "validation_accuracy",
        "Validation_Log/Valid_Loss": "validation_loss",
        "Validation_Log/Valid_Acc": "validation_accuracy",
        "lr": "lr",
    },
    "seed003-lenet": {"validation acc": "validation_accuracy", "epoch/train_loss": "train_loss"},
    "seed004": {
        "Train Loss": "train_loss",
        "Train Loss and Valid Loss/Train": "train_loss",
        "Valid Loss": "validation_loss",
        "Train Loss and Valid Loss/Valid": "validation_loss",
        "Valid Accuracy": "validation_accuracy",
    },
}
STEP_TAGS = {"seed000-alexnet": "Train_Log/Loss", "seed003-lenet": "running_loss"}


@pytest.fixture(scope="module", params=TAGS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A recipe's name, and a run of a small network by it."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    train(folder, small(request.param))
    return request.param, folder


def test_the_tags_are_those_of_the_tutorial(run: tuple[str, Path]) -> None:
    name, folder = run
    assert set(events(folder).Tags()["scalars"]) == TAGS[name]


def test_steps_count_the_images_shown_and_go_on_from_epoch_to_epoch(run: tuple[str, Path]) -> None:
    name, folder = run
    steps = [event.step for event in events(folder).Scalars(STEP_TAGS.get(name, "step/loss"))]
    views = 3 if RECIPES[name].tripled else 1
    assert steps == [BATCH * step for step in range(1, EPOCHS * STEPS * views + 1)]


def test_the_values_of_an_epoch_are_those_of_the_metrics(run: tuple[str, Path]) -> None:
    name, folder = run
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for tag, field in FIELDS[name].items():
        found = events(folder).Scalars(tag)
        unit = VALIDATED if tag.startswith("Validation_Log/") else 1  # which counts the images validated
        assert [event.step for event in found] == [unit * epoch for epoch in range(1, EPOCHS + 1)]
        assert [event.value for event in found] == pytest.approx([line[field] for line in lines], rel=1e-6)


def test_an_epoch_that_is_repeated_as_its_run_died_before_saving_it_is_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, save = small("seed000-alexnet"), Run.save_epoch

    def die(run: Run, trainer: Trainer, metrics: EpochMetrics) -> None:
        if metrics.epoch == EPOCHS:
            raise KeyboardInterrupt
        save(run, trainer, metrics)

    train(tmp_path / "whole", recipe)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_epoch", die)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "killed", recipe)
    assert len((tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()) == EPOCHS - 1
    train(tmp_path / "killed", recipe, resume=True)
    whole, killed = events(tmp_path / "whole"), events(tmp_path / "killed")
    assert killed.Tags() == whole.Tags()
    for tag in whole.Tags()["scalars"]:
        assert [(one.step, one.value) for one in killed.Scalars(tag)] == [
            (one.step, one.value) for one in whole.Scalars(tag)
        ]
    for tag in whole.Tags()["histograms"]:
        assert [one.step for one in killed.Histograms(tag)] == [one.step for one in whole.Histograms(tag)]
    assert len((tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()) == EPOCHS


def test_the_settings_are_there_to_read(run: tuple[str, Path]) -> None:
    (text,) = events(run[1]).Tensors("settings/text_summary")
    assert "- lr: " in text.tensor_proto.string_val[0].decode()


def test_the_mean_of_an_epoch_s_steps_is_its_loss(run: tuple[str, Path]) -> None:
    name, folder = run
    losses = torch.tensor([event.value for event in events(folder).Scalars(STEP_TAGS.get(name, "step/loss"))])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    means = losses.reshape(EPOCHS, -1).mean(1).tolist()
    assert means == pytest.approx([line["train_loss"] for line in lines], rel=1e-5)


def test_all_weights_have_a_histogram_of_every_epoch(run: tuple[str, Path]) -> None:
    name, folder = run
    found = events(folder)
    trainer = new_trainer(small(name), folder)[0]
    tags = {f"weights/{parameter}" for parameter, _ in trainer.model.network.named_parameters()}
    assert set(found.Tags()["histograms"]) == tags
    for tag in tags:
        assert [event.step for event in found.Histograms(tag)] == list(range(1, EPOCHS + 1))


def test_there_is_one_grid_of_samples_with_the_names_of_their_labels(run: tuple[str, Path]) -> None:
    found = events(run[1])
    (grid,) = found.Images("samples")
    assert grid.width * grid.height >= 32 * 32 * 32
    (text,) = found.Tensors("samples/text_summary")
    assert text.tensor_proto.string_val[0].decode().count(", ") == 31


def test_a_finished_run_that_is_resumed_writes_nothing(run: tuple[str, Path]) -> None:
    name, folder = run
    before = sorted(folder.rglob("*"))
    train(folder, small(name), resume=True)
    assert sorted(folder.rglob("*")) == before


def small(name: str) -> Recipe:
    return replace(RECIPES[name], model="lenet", epochs=EPOCHS, batch_size=BATCH, validation=0.2, precision="fp32")


def new_trainer(recipe: Recipe, folder: Path) -> tuple[Trainer, Run]:
    run = Run(folder=folder, recipe=recipe, data=few_images(10, seed=1), data_name="tiny")
    return Trainer(recipe, *run.split(), torch.device("cpu"), World()), run


def train(folder: Path, recipe: Recipe, *, resume: bool = False) -> None:
    trainer, run = new_trainer(recipe, folder)
    if resume:
        run.resume(trainer)
    else:
        write_start(run)
    fit(trainer, run, StopRequest())


def events(folder: Path) -> EventAccumulator:
    """All that was written, none of it left out."""
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance=dict.fromkeys(["scalars", "histograms"], 0))
    return found.Reload()
