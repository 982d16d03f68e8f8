"""The commands in a model card make the same bundle again."""

import re
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest

from cifar_models.bundle import open_bundle
from cifar_models.manifest import Manifest, Selection, Selective
from export.__main__ import parse_options as parse_export
from export.card import render_card
from export.commands import commands
from training.fit import parse_options as parse_fit
from training.options import override
from training.recipe import Recipe
from training.recipes import RECIPES


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Manifest:
    return open_bundle(tiny_bundle).manifest


@pytest.fixture(scope="module")
def shown(tiny_bundle: Path) -> dict[str, list[str]]:
    """The arguments of each command in the card, by its module."""
    (block,) = re.findall(r"```sh\n(.*?)```", (tiny_bundle / "README.md").read_text().partition("## Limits")[0], re.S)
    lines = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    return {words[2]: words[3:] for words in lines if words[:2] == ["python", "-m"]}


def recipe_of(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr("sys.argv", ["fit", *arguments])
    options = parse_fit()
    return override(RECIPES[options.recipe], options)


def test_the_training_command_is_that_of_the_recipe(
    shown: dict[str, list[str]], manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asdict(recipe_of(shown["training.fit"], monkeypatch)) == manifest.origin.recipe
    assert parse_fit().data_name == "tiny"


@pytest.mark.parametrize("optimizer", ["", "adam"])  # beside which momentum, that some have, changes nothing
@pytest.mark.parametrize("name", RECIPES)
def test_the_command_of_every_recipe_is_that_recipe(
    manifest: Manifest, name: str, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = asdict(RECIPES[name]) | ({"optimizer": optimizer} if optimizer else {})
    origin = manifest.origin.model_copy(update={"recipe": recipe, "data": "somebody's images; $HOME"})
    text = commands(manifest.model_copy(update={"origin": origin}))
    _, _, *arguments = shlex.split(text[text.index("python -m training.fit") :].replace("\\\n", " ").splitlines()[0])
    assert asdict(recipe_of(arguments[1:], monkeypatch)) == recipe
    assert parse_fit().data_name == "somebody's images; $HOME"


@pytest.mark.parametrize("ancestor", ["start", "teachers"])
def test_the_commands_do_not_replace_a_run_that_they_learn_from(manifest: Manifest, ancestor: str) -> None:
    recipe = {**asdict(RECIPES["resnet18"]), ancestor: f"runs/{manifest.name}/best.pt"}
    origin = manifest.origin.model_copy(update={"recipe": recipe})
    text = commands(manifest.model_copy(update={"origin": origin})).replace("\\\n", " ")
    assert f"--out runs/{manifest.name}-next" in " ".join(text.split())
    assert f"python -m export runs/{manifest.name}-next/best.pt --out models/{manifest.name} " in " ".join(text.split())


def test_the_export_command_makes_the_same_formats_of_the_run_just_trained(
    shown: dict[str, list[str]], manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["export", *shown["export"]])
    exported = parse_export()
    monkeypatch.setattr("sys.argv", ["fit", *shown["training.fit"]])
    assert exported.checkpoint == parse_fit().out / "best.pt"
    assert exported.formats == [artifact.key for artifact in manifest.artifacts]
    assert exported.out.name == manifest.name


def test_the_card_names_the_sources_and_the_data(tiny_bundle: Path, manifest: Manifest) -> None:
    card = (tiny_bundle / "README.md").read_text()
    assert manifest.export_revision is not None
    for revision in (manifest.origin.source_revision, manifest.export_revision):
        assert f"git checkout {revision.removesuffix('-dirty')}" in card or revision == "unknown"
    assert manifest.origin.data_fingerprint in card


def test_the_card_has_every_label_s_accuracy_and_answers(tiny_bundle: Path, manifest: Manifest) -> None:
    artifact = manifest.find("onnx-int8")
    assert artifact is not None
    test = artifact.evaluation("test")
    assert test is not None
    assert test.confusion is not None
    assert test.class_accuracies is not None
    assert sum(map(sum, test.confusion)) == test.images
    assert sum(row[index] for index, row in enumerate(test.confusion)) == round(test.accuracy * test.images)
    card = (tiny_bundle / "README.md").read_text()
    for label, right, counts in zip(manifest.labels, test.class_accuracies, test.confusion, strict=True):
        assert f"| {label} | {right:.1%} | {' | '.join(map(str, counts))} |" in card


def test_a_label_cannot_break_the_cards_tables(manifest: Manifest) -> None:
    labels = ["b|c", *manifest.labels[1:]]
    card = render_card(manifest.model_copy(update={"labels": labels}))
    rows = [re.split(r"(?<!\\)\|", line) for line in card.splitlines() if line.startswith(("| b\\|c |", "| label |"))]
    assert [len(row) for row in rows] == [len(labels) + 4] * 2


def test_the_card_states_the_thresholds_and_what_they_do(manifest: Manifest) -> None:
    selection = Selection(coverage=0.625, precision=0.9975)
    selective = Selective(promise=0.99, threshold=0.987654, validation=selection, test=selection)
    first, *others = manifest.artifacts
    known = [first.model_copy(update={"selective": selective}), *others]
    card = render_card(manifest.model_copy(update={"artifacts": known}))
    nones = " | ".join(["none"] * len(others))
    assert f"| threshold | 0.9877 | {nones} |" in card
    assert f"| validation: confident | 62.50% | {nones} |" in card
    assert f"| test: right of those | 99.75% | {nones} |" in card
