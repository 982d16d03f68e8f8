"""The ranges in which a search draws a recipe's numbers."""

import typing
from dataclasses import dataclass, replace
from typing import Any

from cifar_models.errors import InputError
from training.recipe import Recipe, check_effect

_KINDS = {name: hint for name, hint in typing.get_type_hints(Recipe).items() if hint in (int, float)}
_LOG_RATIO = 10  # a range this wide is searched by orders of magnitude


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, both included; whole numbers where the recipe's field takes no others."""

    low: float
    high: float

    def draw(self, trial: Any, name: str) -> float | int:
        """A number for the recipe's field, of its type, on a logarithmic scale where the range is wide."""
        log = self.low > 0 and self.high / self.low >= _LOG_RATIO
        if _KINDS[name] is int:
            drawn: int = trial.suggest_int(name, int(self.low), int(self.high), log=log)
            return drawn
        value: float = trial.suggest_float(name, self.low, self.high, log=log)
        return value


Space = dict[str, Range]


def usual_space(recipe: Recipe) -> Space:
    """Rates within a factor of 8 of the recipe's, the rest within what the literature uses."""
    space = {
        "lr": Range(recipe.lr / 8, recipe.lr * 8),
        "label_smoothing": Range(0, 0.2),
        "crop": Range(0, 4),
        "cutout": Range(0, 16),
        "cutmix": Range(0, 1),
    }
    if recipe.optimizer == "muon":
        space["filter_lr"] = Range(recipe.filter_lr / 8, recipe.filter_lr * 8)
    if recipe.optimizer != "adam":  # which knows neither
        space["weight_decay"] = Range(1e-5, 1e-2)
        space["momentum"] = Range(0.8, 0.98)
    return space


def parse_space(texts: list[str], recipe: Recipe) -> Space:
    """What --search says, NAME=LOW:HIGH each. Raises InputError when a number of the recipe cannot be drawn so."""
    return dict(parse_range(text, recipe) for text in texts)


def parse_range(text: str, recipe: Recipe) -> tuple[str, Range]:
    name, _, bounds = text.partition("=")
    name = name.replace("-", "_")
    if name not in _KINDS:
        raise InputError(f"--search {text}: a recipe has no number {name!r}; choose one of {', '.join(_KINDS)}.")
    try:
        low, high = (_KINDS[name](bound) for bound in bounds.split(":"))
    except ValueError:
        example = "crop=0:4, of whole numbers" if _KINDS[name] is int else "lr=0.01:0.5"
        raise InputError(f"--search {text}: write it as NAME=LOW:HIGH, such as {example}.") from None
    if not low <= high < float("inf"):
        raise InputError(f"--search {text}: LOW must not be above HIGH, and both must be finite.")
    for bound in (low, high):
        replace(recipe, **{name: bound})  # says what is wrong with an impossible one
    check_effect(recipe, [name])
    return name, Range(low, high)
