"""The steps, in the order in which they are worth a device's time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.gpu import engine, environment, parity, profile, service, training
from bench.gpu.context import Context
from bench.gpu.record import Outcome
from training.recipes import RECIPES


@dataclass(frozen=True, slots=True)
class Step:
    """Something to prove. `inputs` is what its figures depend on, beside the device and the versions."""

    title: str
    run: Callable[[Context], Outcome]
    inputs: Callable[[Context], dict[str, Any]]


def recipe_step(recipe: str) -> Step:
    title = f"the recipe `{recipe}` at full length"
    return Step(title, partial(training.run, recipe=recipe), partial(training.inputs, recipe=recipe))


def profile_step(title: str, *, compiled: bool) -> Step:
    return Step(title, partial(profile.run, compiled=compiled), partial(profile.inputs, compiled=compiled))


SEEDS = [name for name in RECIPES if name.startswith("seed")]
MODERN = [name for name in RECIPES if name not in SEEDS]

STEPS: dict[str, Step] = {
    "environment": Step("device, driver and versions; measured rates", environment.run, environment.inputs),
    "profile": profile_step("where a training step's time goes", compiled=False),
    "profile-compiled": profile_step("the same with torch.compile", compiled=True),
    "engine": Step("engines alone, against the size of a batch", engine.run, engine.inputs),
    "service": Step("the service under load", service.run, service.inputs),
    "parity": Step("the export's gate on the device", parity.run, parity.inputs),
    **{name: recipe_step(name) for name in (*MODERN, *SEEDS)},
}
GROUPS = {"seeds": SEEDS, "modern": MODERN}


def find_steps(names: list[str]) -> list[str]:
    """The steps of these names and groups, each once, in order; all when none is named."""
    wanted = {step for name in names for step in GROUPS.get(name, [name])}
    return [step for step in STEPS if step in wanted or not names]
