"""A run from where it stands to its end: epochs, what is shown of them, and what can go wrong."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from tqdm import tqdm

from cifar_models.errors import InputError
from training.run import EpochMetrics, Run
from training.schedule import should_stop
from training.stop import StopRequest
from training.tensorboard import Board
from training.trainer import Trainer

_LOOK_EVERY = 50  # steps between two looks at the loss, or at what other processes were asked: the device waits


class Stopped(Exception):
    """The run was asked to stop, and is saved."""


class Diverged(InputError):
    """The loss is no number any more."""


def fit(trainer: Trainer, run: Run, stop: StopRequest, board: Board) -> None:
    """Train what is left of the recipe, saving after each epoch. Raises Stopped, or InputError with a way out."""
    while trainer.epoch < run.recipe.epochs and not should_stop(run.validation_losses, run.recipe.early_stop):
        with explaining(trainer, run):
            metrics, losses, correct = fit_epoch(trainer, run, stop)
            if trainer.world.is_first:
                run.save_epoch(trainer, metrics)
                board.write_epoch(metrics, losses, correct, trainer)
        if trainer.world.is_first:
            print(metrics, flush=True)
        trainer.validation_losses.append(metrics.validation_loss)
        # Asked after the last epoch too: no process leaves while the first one still writes.
        if trainer.world.any(bool(stop)) and trainer.epoch < run.recipe.epochs:
            raise Stopped


def fit_epoch(trainer: Trainer, run: Run, stop: StopRequest) -> tuple[EpochMetrics, Tensor, Tensor]:
    """Finish an epoch: its metrics, each step's loss and its share of right labels. Raises Stopped, Diverged."""
    started = time.monotonic()
    epoch = trainer.epoch
    rate = run.recipe.lr * trainer.lr_factor(epoch, 0)
    for _ in shown(trainer, run):
        if trainer.step < trainer.steps_per_epoch and asked_to_stop(trainer, stop):
            trainer.agree()
            if trainer.world.is_first:
                run.save_step(trainer)
            raise Stopped
    losses, correct = trainer.end_epoch()
    check_finite(trainer, epoch, losses)
    validation_loss, validation_accuracy = trainer.world.share(trainer.validate() if trainer.world.is_first else None)
    check_finite(trainer, epoch, torch.tensor([validation_loss]), first_step=trainer.steps_per_epoch - 1)
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


def asked_to_stop(trainer: Trainer, stop: StopRequest) -> bool:
    """Whether to stop at this step. Several processes must do so at the same one, so they ask each other."""
    if trainer.world.size == 1:
        return bool(stop)
    return trainer.step % _LOOK_EVERY == 0 and trainer.world.any(bool(stop))


def shown(trainer: Trainer, run: Run) -> Iterator[Tensor]:
    """The epoch's steps, under a progress bar where somebody looks at it."""
    images = trainer.batch_size * trainer.world.size
    bar = tqdm(
        total=trainer.steps_per_epoch * images,
        initial=trainer.step * images,
        desc=f"epoch {trainer.epoch + 1}/{run.recipe.epochs}",
        unit=" img",
        leave=False,
        disable=None if trainer.world.is_first else True,
    )
    with bar:
        for loss in trainer.train_epoch():
            if trainer.step % _LOOK_EVERY == 0:
                unseen = torch.stack(trainer.losses[-_LOOK_EVERY:])
                check_finite(trainer, trainer.epoch, unseen, first_step=trainer.step - len(unseen))
                bar.set_postfix(loss=f"{loss.item():.3f}")
            bar.update(images)
            yield loss


def check_finite(trainer: Trainer, epoch: int, losses: Tensor, *, first_step: int = 0) -> None:
    wrong = (~losses.isfinite()).nonzero()
    if not len(wrong):
        return
    step = first_step + int(wrong[0])
    recipe, factor = trainer.recipe, trainer.lr_factor(epoch, step)
    rates = [("--lr", recipe.lr)] + ([("--filter-lr", recipe.filter_lr)] if recipe.optimizer == "muon" else [])
    raise Diverged(
        f"The loss is {losses[int(wrong[0])].item()} at step {step + 1} of epoch {epoch + 1}: the run diverged, at "
        + " and ".join(f"{option} {rate * factor:.2e} (peak {rate:g})" for option, rate in rates)
        + ". What was saved before is intact; try a lower learning rate."
    )


def is_out_of_memory(error: Exception) -> bool:
    """CUDA and Python have errors of their own for it; torch's allocator on the CPU raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def explaining(trainer: Trainer, run: Run) -> Iterator[None]:
    """Turn what a machine lacks into a line that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        batch_size = trainer.recipe.batch_size
        raise InputError(
            f"{trainer.device} has no memory for batches of {batch_size}; "
            f"try --batch-size {max(1, batch_size // 2)}, with half the learning rate."
        ) from error
    except OSError as error:
        raise InputError(f"{run.folder} cannot be written ({error.strerror}); what was saved is intact.") from error
