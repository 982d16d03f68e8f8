"""Where the weights of a bundle come from, without a trace of the machine that trained them."""

from pathlib import Path

from cifar_models.manifest import Origin
from export.source import Source


def describe_origin(source: Source) -> Origin:
    checkpoint = source.checkpoint
    return Origin(
        recipe={
            name: ",".join(map(portable, value.split(","))) if isinstance(value, str) else value
            for name, value in checkpoint.recipe.items()
        },
        epoch=checkpoint.epoch,
        data=checkpoint.data_name,
        data_fingerprint=checkpoint.data_fingerprint,
        training_images=len(source.training) - len(checkpoint.validation),
        validation_images=len(checkpoint.validation),
        source_revision=checkpoint.source_revision,
    )


def portable(value: str) -> str:
    """What a recipe says; of an absolute path what is below the current folder, or else its last two parts."""
    path = Path(value)
    if not path.is_absolute():
        return value
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else Path(*path.parts[1:][-2:]))
