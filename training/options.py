"""A recipe's fields as command-line options, with their own types, choices and texts; and that of the images."""

import argparse
import os
import typing
from dataclasses import fields, replace
from pathlib import Path

from training.recipe import Recipe, check_effect

DATA = Path("data")  # where images are, if no option says so


def data_option(data: Path) -> list[str]:
    """What a command needs to be told of the folder of the images, as words."""
    return [] if data == DATA else ["--data", str(data)]


def may_download(data: Path) -> bool:
    """Whether CIFAR-10 may be put there: not where a folder was named that is not there, as it may be misspelt."""
    return data == DATA or os.path.exists(data)


def add_recipe_options(group: argparse._ArgumentGroup) -> None:
    for name, annotation in typing.get_type_hints(Recipe, include_extras=True).items():
        kind, text = typing.get_args(annotation)
        flag = "--" + name.replace("_", "-")
        choices = typing.get_args(kind) or None
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            group.add_argument(flag, type=str if choices else kind, choices=choices, metavar=metavar(kind), help=text)


def metavar(kind: typing.Any) -> str:
    return "|".join(typing.get_args(kind)) or {str: "NAME", int: "N", float: "X"}[kind]


def override(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe with the fields that were given. Raises InputError for an impossible value, and one without effect.

    Without effect one may be said that stands in the recipe anyway, any where every field is said, as in a model card,
    and any in a run that goes on, whose command was once accepted.
    """
    asked = {field.name: getattr(options, field.name) for field in fields(Recipe)}
    given = {name: value for name, value in asked.items() if value is not None}
    changed = replace(recipe, **given)
    if not options.resume and len(given) < len(asked):
        check_effect(changed, [name for name, value in given.items() if value != getattr(recipe, name)])
    return changed
