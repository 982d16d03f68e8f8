"""The commands that made a bundle, as a shell takes them."""

import shlex
from collections.abc import Iterable

from cifar_models.manifest import Manifest
from cifar_models.revision import DIRTY

_WIDTH = 110  # characters of a line, if words allow

Value = str | int | float | bool


def commands(manifest: Manifest) -> str:
    """Lines that make the bundle again, run in a checkout of this package with its data in `data/`."""
    origin, run = manifest.origin, free_run(manifest)
    # Every field of the recipe, so that defaults may change and the command means the same.
    options = (option(name, value) for name, value in origin.recipe.items())
    train = [["python", "-m", "training.fit"], *options, ["--data-name", origin.data], ["--out", run]]
    export = [
        ["python", "-m", "export", f"{run}/best.pt"],
        ["--out", f"models/{manifest.name}"],
        ["--formats", *(artifact.key for artifact in manifest.artifacts)],
        *([["--license", manifest.license]] if manifest.license else []),
    ]
    steps = [*checkout(origin.source_revision), wrap(train)]
    if manifest.export_revision != origin.source_revision:
        steps += checkout(str(manifest.export_revision))
    return "\n".join([*steps, wrap(export)])


def free_run(manifest: Manifest) -> str:
    """The folder of the run: not one of those that it learned from, which training would refuse to replace."""
    recipe, run = manifest.origin.recipe, f"runs/{manifest.name}"
    ancestors = [str(recipe.get("start", "")), *str(recipe.get("teachers", "")).split(",")]
    while any(path.startswith(f"{run}/") for path in ancestors):
        run += "-next"
    return run


def option(name: str, value: Value) -> list[str]:
    """A field of the recipe on the command line of `training.fit`."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", str(value)]


def checkout(revision: str) -> list[str]:
    commit = revision.removesuffix(DIRTY)
    if commit == "unknown":
        return ["# of a source that was no checkout of git"]
    comment = "  # and changes that were not committed, or came while it trained" if revision.endswith(DIRTY) else ""
    return [f"git checkout {commit}{comment}"]


def wrap(words: Iterable[list[str]]) -> str:
    """One command in lines; an option and its values stay together."""
    lines = [""]
    for part in map(shlex.join, words):
        if lines[-1] and len(lines[-1]) + len(part) > _WIDTH:
            lines.append(" ")
        lines[-1] += f" {part}" if lines[-1] else part
    return " \\\n".join(lines)
