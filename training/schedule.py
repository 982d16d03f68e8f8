"""The learning rate, and when to stop: functions of the step and the validation losses, with no state to save."""

from collections.abc import Sequence

from training.recipe import Recipe

_THRESHOLD = 1e-4  # a loss counts as lower when it is so by this share, as in torch's ReduceLROnPlateau


def lr_factor(
    recipe: Recipe, *, epoch: int, step: int, steps_per_epoch: int, validation_losses: Sequence[float]
) -> float:
    """Share of the peak learning rate at `step` of `epoch`, both from 0, after epochs with these validation losses."""
    if recipe.schedule == "linear":
        total_steps = recipe.epochs * steps_per_epoch
        return linear_factor(epoch * steps_per_epoch + step, total_steps=total_steps, warmup=recipe.warmup)
    if recipe.schedule == "step":
        return 1.0 if epoch < recipe.step_epoch else 0.1
    if recipe.schedule == "plateau":
        return float(0.1 ** count_plateaus(validation_losses, recipe.plateau_patience))
    return 1.0


def linear_factor(step: int, *, total_steps: int, warmup: float) -> float:
    """A linear rise over the share `warmup` of the steps, then a linear fall to 0."""
    warmup_steps = warmup * total_steps
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return (total_steps - step) / (total_steps - warmup_steps)


def count_plateaus(losses: Sequence[float], patience: int) -> int:
    """How often more than `patience` epochs in a row brought no lower loss; the count begins anew after each time."""
    best, stalled, plateaus = float("inf"), 0, 0
    for loss in losses:
        if loss < best * (1 - _THRESHOLD):
            best, stalled = loss, 0
        else:
            stalled += 1
        if stalled > patience:
            plateaus, stalled = plateaus + 1, 0
    return plateaus


def should_stop(losses: Sequence[float], early_stop: int) -> bool:
    """Whether the last `early_stop` epochs brought no loss lower than the lowest before them."""
    return bool(early_stop) and len(losses) > early_stop and min(losses[-early_stop:]) >= min(losses[:-early_stop])
