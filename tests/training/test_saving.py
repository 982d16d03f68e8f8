"""When a run writes its checkpoints: not after every epoch where that would take longer than the training."""

import errno
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import few_images, too_large
from torch.testing import assert_close

from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.errors import InputError
from training.loop import Diverged, fit, validate
from training.recipes import RECIPES
from training.run import EpochMetrics, Run
from training.stop import StopRequest, StopVote
from training.trainer import Trainer
from training.world import World

RECIPE = replace(RECIPES["seed003-batchnorm"], batch_size=10, validation=0.5)
ACCURACIES = (0.2, 0.5, 0.4)  # of validation; the second epoch is the best


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(folder=tmp_path, recipe=RECIPE, data=few_images(4, seed=1), data_name="tiny")


def train(run: Run, trainer: Trainer, accuracy: float) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """One epoch that came to `accuracy`; its weights and its state."""
    list(trainer.train_epoch())
    trainer.end_epoch()
    kept = trainer.weights(), deepcopy(trainer.state())
    run.save_epoch(trainer, EpochMetrics(trainer.epoch, 0.1, 1.0, 0.5, 1.0, accuracy, 1.0))
    return kept


def test_epochs_that_are_short_beside_saving_are_written_together_at_the_end(run: Run) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    kept = [train(run, trainer, ACCURACIES[0])]
    assert load_checkpoint(run.last).epoch == load_checkpoint(run.best).epoch == 1  # something is there at once
    run.saving_seconds = math.inf
    kept += [train(run, trainer, accuracy) for accuracy in ACCURACIES[1:]]
    assert load_checkpoint(run.last).epoch == 1
    assert len(run.folder.joinpath("metrics.jsonl").read_text().splitlines()) == 3
    run.finish(trainer)
    for path, epoch in ((run.best, 2), (run.last, 3)):
        saved = load_checkpoint(path)
        assert (saved.epoch, saved.training_state["epoch"]) == (epoch, epoch)
        weights, state = kept[epoch - 1]
        assert_close(saved.weights, weights, rtol=0, atol=0)
        assert_close(saved.training_state, state, rtol=0, atol=0)
        assert saved.training_state["network"] is None  # it would be the weights again


def test_a_run_that_diverges_leaves_its_best_epoch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    found = iter([(1.0, accuracy) for accuracy in ACCURACIES[:2]] + [(math.nan, 0.0)])
    monkeypatch.setattr(Trainer, "validate", lambda _: next(found))
    monkeypatch.setattr("training.run._PATIENCE", 1e9)
    with pytest.raises(Diverged):
        fit(trainer, run, StopRequest())
    assert load_checkpoint(run.last).epoch == 1
    assert load_checkpoint(run.best).epoch == 2


def test_a_run_that_is_stopped_after_it_diverged_is_not_saved(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(replace(RECIPE, lr=1e30, batch_size=2), *run.split(), torch.device("cpu"), World())
    monkeypatch.setattr(StopVote, "passes", lambda *_: trainer.step == trainer.steps_per_epoch - 1)
    with pytest.raises(Diverged):
        fit(trainer, run, StopRequest())
    assert list(run.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (MemoryError(), InputError, r"has no memory .* in another folder \(--out\) if this one holds a checkpoint\."),
        (OSError(errno.ENOSPC, "No space left"), OSError, "No space left"),  # for what is printed
    ],
)
def test_a_run_that_cannot_keep_an_epoch_leaves_its_best_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[Exception], words: str
) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    found = iter([(1.0, accuracy) for accuracy in (*ACCURACIES[:2], 0.6)])
    monkeypatch.setattr(Trainer, "validate", lambda _: next(found))
    monkeypatch.setattr("training.run._PATIENCE", 1e9)
    keep = Run.checkpoint

    def checkpoint(run: Run, trainer: Trainer) -> Checkpoint:
        if trainer.epoch == 3:
            raise failure
        return keep(run, trainer)

    monkeypatch.setattr(Run, "checkpoint", checkpoint)
    with pytest.raises(kind, match=words):
        fit(trainer, run, StopRequest())
    assert load_checkpoint(run.best).epoch == 2


def test_too_little_memory_to_validate_is_an_error_to_tell_other_processes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    monkeypatch.setattr(Trainer, "validate", lambda _: too_large())
    with pytest.raises(InputError, match="has no memory"):
        validate(trainer, 0)


def test_a_run_that_failed_goes_on_from_the_further_of_its_checkpoints(run: Run) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    train(run, trainer, ACCURACIES[0])
    run.saving_seconds = math.inf
    train(run, trainer, ACCURACIES[1])
    run.save_best()  # as when the next epoch fails
    assert (load_checkpoint(run.last).epoch, load_checkpoint(run.best).epoch) == (1, 2)
    again = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    run.resume(again)
    assert again.epoch == 2
    train(run, again, ACCURACIES[2])
    run.finish(again)
    assert (load_checkpoint(run.last).epoch, load_checkpoint(run.best).epoch) == (3, 2)


def test_a_run_whose_checkpoints_are_on_another_machine_does_not_go_on(run: Run) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    with pytest.raises(InputError, match="No checkpoint at"):
        run.resume(trainer)


def test_a_run_that_goes_on_at_another_revision_says_so(run: Run) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    train(run, trainer, ACCURACIES[0])
    begun = load_checkpoint(run.last)
    for then in ("a" * 40, "a" * 40 + "-dirty"):
        for path in (run.last, run.best):
            replace(begun, source_revision=then).save(path)
        run.source_revision = "b" * 40
        run.resume(trainer)
        assert run.source_revision == "a" * 40 + "-dirty"


def test_a_run_of_a_time_with_fewer_fields_goes_on(run: Run) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    train(run, trainer, ACCURACIES[0])
    saved = load_checkpoint(run.last)
    older = {name: value for name, value in saved.recipe.items() if name not in ("start", "cutmix")}
    replace(saved, recipe=older).save(run.last)
    run.resume(trainer)
    replace(saved, recipe={**older, "cutmix": 0.5}).save(run.last)
    with pytest.raises(InputError, match=r"cutmix was 0\.5"):
        run.resume(trainer)


def test_a_run_goes_on_compiled_or_not_and_under_other_tags(run: Run) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    train(run, trainer, ACCURACIES[0])
    saved = load_checkpoint(run.last)
    replace(saved, recipe={**saved.recipe, "compile": True, "tensorboard": "seed000"}).save(run.last)
    run.resume(trainer)
    train(run, trainer, ACCURACIES[1])
    run.finish(trainer)
    assert load_checkpoint(run.last).recipe == saved.recipe


def test_epochs_that_are_long_beside_saving_are_written_one_by_one(run: Run) -> None:
    trainer = Trainer(RECIPE, *run.split(), torch.device("cpu"), World())
    for epoch, accuracy in enumerate(ACCURACIES, start=1):
        run.saving_seconds = 0.0
        train(run, trainer, accuracy)
        assert load_checkpoint(run.last).epoch == epoch
