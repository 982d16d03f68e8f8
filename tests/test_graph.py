"""A training step as a CUDA graph: the same step, and the same state to save, as without."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from test_recipes import few_images
from torch.testing import assert_close

from cifar_models.dataset import split_validation
from training.optimizer import prepare_for_graph
from training.recipe import Recipe
from training.recipes import RECIPES
from training.trainer import Trainer
from training.world import World

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
OPTIMIZERS = {"muon": "cifarnet", "adam": "seed004", "sgd": "seed003-batchnorm"}


def small(name: str) -> Recipe:
    return replace(RECIPES[name], batch_size=10, validation=0.5, teachers="")


def trainer_of(recipe: Recipe, device: str) -> Trainer:
    data = few_images(12, seed=1)
    training, validation = (data.subset(part) for part in split_validation(data, recipe.validation, 0))
    return Trainer(recipe, training, validation, torch.device(device), World())


def train(trainer: Trainer, epochs: int = 1) -> torch.Tensor:
    """The losses of all steps."""
    found = []
    for _ in range(epochs):
        list(trainer.train_epoch())
        found.append(trainer.end_epoch()[0])
    return torch.cat(found)


@pytest.mark.parametrize("name", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_learning_rates_in_the_devices_memory_change_no_step_and_no_saved_state(name: str) -> None:
    recipe = small(name)
    plain, prepared = trainer_of(recipe, "cpu"), trainer_of(recipe, "cpu")
    prepare_for_graph(prepared.optimizers)
    assert_close(train(prepared), train(plain), atol=0.05, rtol=0)  # they are rounded to float32
    one, other = (deepcopy(trainer.state()) for trainer in (plain, prepared))
    assert [groups(state) for state in one["optimizers"]] == [
        [{**group, "lr": pytest.approx(group["lr"])} for group in groups(state)] for state in other["optimizers"]
    ]


def groups(state: dict[str, object]) -> list[dict[str, object]]:
    found = state["param_groups"]
    assert isinstance(found, list)
    return found


@CUDA
@pytest.mark.parametrize("name", ["cifarnet", "cifarnet-distilled", "resnet18", "seed003-batchnorm"])
def test_a_graph_trains_as_the_step_does_that_it_was_captured_from(name: str) -> None:
    recipe = small(name)
    eager, graphed = trainer_of(recipe, "cuda"), trainer_of(recipe, "cuda")
    eager.graph = None
    assert_close(train(graphed, 2), train(eager, 2), atol=1e-2, rtol=1e-2)
