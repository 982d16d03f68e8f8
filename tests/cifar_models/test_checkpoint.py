"""What a checkpoint must hold: one with anything else is refused in a line that names its file and what is wrong."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.errors import InputError

CUT = 30_000  # bytes that are left of a file; of so few, torch's own error is one of the system


@pytest.fixture(scope="module")
def content(tiny_run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(tiny_run / "best.pt", weights_only=True)
    return loaded


def refusal(path: Path, content: Any) -> str:
    torch.save(content, path)
    with pytest.raises(InputError) as error:
        load_checkpoint(path)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{path} is no")
    assert line.endswith("; train it again.")
    return line


@pytest.mark.parametrize("name", [field.name for field in fields(Checkpoint)])
def test_a_field_of_another_type_or_none_at_all_is_named(content: dict[str, Any], tmp_path: Path, name: str) -> None:
    for wrong in (torch.zeros(2, 2), None):
        assert f"to use: {name}" in refusal(tmp_path / "best.pt", {**content, name: wrong})
    if name != "ancestors":  # which older ones lack
        rest = {key: value for key, value in content.items() if key != name}
        assert f"{name}: Field required" in refusal(tmp_path / "best.pt", rest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "lenett"}, "architecture: no network is called 'lenett'"),
        ({"labels": ["cat"]}, "labels: "),
        ({"mean": [0.5, 0.5]}, "mean: "),
        ({"mean": [float("nan")] * 3}, "mean.0: "),
        ({"std": [1.0, 1.0, 0.0]}, "std.2: "),
        ({"weights": {"network.fc.weight": [1.0]}}, "weights.network.fc.weight: "),
        ({"history": [{"epoch": "first"}]}, "history.0.epoch: should be a number"),
        ({"recipe": {"lr": [0.1]}}, "recipe.lr: should be a number"),
        ({"validation": torch.zeros(0, dtype=torch.int64)}, "validation: should be places of images"),
        ({"validation": torch.tensor([[1]])}, "validation: should be places of images"),
        ({"validation": torch.tensor([-1])}, "validation: should be places of images"),
        ({"training_state": {"epoch": 1}}, "training_state: should have an epoch and a step"),
        ({"more": 1}, "more: "),
    ],
)
def test_what_a_field_cannot_be_is_said(
    content: dict[str, Any], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    assert words in refusal(tmp_path / "best.pt", {**content, **change})


@pytest.mark.parametrize("left", [0, 1, 1000, CUT, -1])
def test_a_file_that_was_cut_off_is_called_so(tiny_run: Path, tmp_path: Path, left: int) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes((tiny_run / "best.pt").read_bytes()[:left])
    with pytest.raises(InputError) as error:
        load_checkpoint(path)
    assert str(error.value).startswith(f"{path} is not a checkpoint of this package, or it was cut off or damaged")


def test_held_out_images_that_the_data_do_not_have_are_refused(tiny_run: Path, tiny_data: Path) -> None:
    checkpoint = replace(load_checkpoint(tiny_run / "best.pt"), validation=torch.tensor([10**9]))
    with pytest.raises(InputError, match="holds out more images than the 200 in"):
        checkpoint.load_training_images(tiny_data)
