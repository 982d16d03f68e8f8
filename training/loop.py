"""A run from where it stands to its end: epochs, what is shown of them, and what can go wrong."""

import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from statistics import median

import torch
from torch import Tensor
from tqdm import tqdm

from cifar_models.command import say
from cifar_models.errors import InputError
from training.model import compiling
from training.run import EpochMetrics, Run
from training.schedule import should_stop
from training.stop import StopRequest, StopVote
from training.tensorboard import write_epoch
from training.trainer import ELSEWHERE, Trainer

_LOOK_SECONDS = 0.5  # between two looks at the loss: each makes the device wait


class Stopped(Exception):
    """The run was asked to stop, and is saved."""


class Diverged(InputError):
    """The loss is no number any more."""


def fit(trainer: Trainer, run: Run, stop: StopRequest) -> None:
    """Train what is left of the recipe, keeping each epoch. Raises Stopped, or InputError with a way out."""
    vote = StopVote(stop, trainer.world)
    while trainer.epoch < run.recipe.epochs and not should_stop(trainer.validation_losses, run.recipe.early_stop):
        try:
            with trainer.enough_memory(), compiling():
                metrics, losses, correct = fit_epoch(trainer, run, vote)
            trainer.world.first(partial(keep_epoch, trainer, run, metrics, losses, correct))
        except (InputError, OSError):  # this of what is printed, as where the reader has gone
            if trainer.world.is_first:
                run.save_best()  # the trainer itself stands in the middle of what failed
            raise
        trainer.validation_losses.append(metrics.validation_loss)
        if trainer.epoch < run.recipe.epochs and trainer.world.any(bool(stop)):
            trainer.world.first(partial(run.finish, trainer))
            raise Stopped
    trainer.world.first(partial(run.finish, trainer))


def keep_epoch(trainer: Trainer, run: Run, metrics: EpochMetrics, losses: Tensor, correct: Tensor) -> None:
    """Keep and report an epoch. Raises InputError when it cannot be written, or the memory does not suffice for it."""
    with trainer.enough_memory():
        write_epoch(run, metrics, losses, correct, trainer)
        run.save_epoch(trainer, metrics)
    say(f"{metrics}{time_left(run)}")


def time_left(run: Run) -> str:
    """How long the epochs that are left will take, as a column of the epoch's line; empty after the last one.

    By the median, as an epoch that the machine spent on something else says little of those to come.
    """
    epochs = run.recipe.epochs - len(run.history)
    seconds = epochs * median(past.seconds for past in run.history)
    return f"   {timedelta(seconds=round(seconds))} left" if epochs else ""


def fit_epoch(trainer: Trainer, run: Run, vote: StopVote) -> tuple[EpochMetrics, Tensor, Tensor]:
    """Finish an epoch: its metrics, each step's loss and its share of right labels. Raises Stopped, Diverged."""
    started = time.monotonic() - trainer.seconds
    epoch = trainer.epoch
    rate = run.recipe.lr * trainer.lr_factor(epoch, 0)
    for has_diverged in shown(trainer, run):
        if trainer.step < trainer.steps_per_epoch and vote.passes(has_diverged):
            trainer.agree()
            trainer.world.first(partial(check_finite, trainer, epoch, torch.stack(trainer.losses)))
            trainer.seconds = time.monotonic() - started
            trainer.world.first(partial(run.save, trainer))
            raise Stopped
    losses, correct = trainer.end_epoch()
    trainer.world.first(partial(check_finite, trainer, epoch, losses))
    validation_loss, validation_accuracy = trainer.world.first(partial(validate, trainer, epoch))
    metrics = EpochMetrics(
        epoch=trainer.epoch,
        lr=rate,
        train_loss=losses.mean().item(),
        train_accuracy=correct.mean().item(),
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        seconds=time.monotonic() - started,
    )
    return metrics, losses, correct


def validate(trainer: Trainer, epoch: int) -> tuple[float, float]:
    """Loss and accuracy after an epoch. Raises InputError when the memory does not suffice, and Diverged."""
    with trainer.enough_memory():
        loss, accuracy = trainer.validate()
    check_finite(trainer, epoch, torch.tensor([loss]), first_step=trainer.steps_per_epoch - 1)
    return loss, accuracy


def shown(trainer: Trainer, run: Run) -> Iterator[bool]:
    """The epoch's steps, under a progress bar where somebody looks at it; yields whether the loss is no number now."""
    images = trainer.batch_size * trainer.world.size
    bar = tqdm(
        total=trainer.steps_per_epoch * images,
        initial=trainer.step * images,
        desc=f"epoch {trainer.epoch + 1}/{run.recipe.epochs}",
        unit=" img",
        leave=False,
        disable=None if trainer.world.is_first else True,
    )
    looked, seen = time.monotonic(), trainer.step
    has_diverged = False
    with bar:
        for _ in trainer.train_epoch():
            if time.monotonic() - looked > _LOOK_SECONDS:
                losses, correct = torch.stack(trainer.losses[seen:]), torch.stack(trainer.correct[seen:])
                has_diverged = has_diverged or not bool(losses.isfinite().all())
                bar.set_postfix_str(current(trainer, losses, correct), refresh=False)
                looked, seen = time.monotonic(), trainer.step
            bar.update(images)
            yield has_diverged


def current(trainer: Trainer, losses: Tensor, correct: Tensor) -> str:
    """What the bar says of the steps since the last look."""
    rate = trainer.recipe.lr * trainer.lr_factor(trainer.epoch, trainer.step - 1)
    return f"loss {losses.mean().item():.3f}, accuracy {correct.mean().item():.1%}, lr {rate:.1e}"


def check_finite(trainer: Trainer, epoch: int, losses: Tensor, *, first_step: int = 0) -> None:
    """Raises Diverged when a loss of the epoch, counted from 0, is no number: they are those from `first_step` on."""
    wrong = (~losses.isfinite()).nonzero()
    if not len(wrong):
        return
    step = first_step + int(wrong[0])
    recipe, factor = trainer.recipe, trainer.lr_factor(epoch, step)
    rates = [("--lr", recipe.lr)] + ([("--filter-lr", recipe.filter_lr)] if recipe.optimizer == "muon" else [])
    raise Diverged(
        f"The loss is {losses[int(wrong[0])].item()} at step {step + 1} of epoch {epoch + 1}: the run diverged, at "
        + " and ".join(f"{option} {rate * factor:.2e} (peak {rate:g})" for option, rate in rates)
        + f". What was saved before is intact; try a lower learning rate, {ELSEWHERE}."
    )
