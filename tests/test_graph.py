"""A training step as a CUDA graph: the same step, and the same state to save, as without.

The CPU has no graphs. There the learning rates alone are kept where a graph would read them.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_distributed import Dropping
from test_recipes import few_images
from torch import Tensor
from torch.testing import assert_close

from cifar_models.classifier import Classifier
from cifar_models.dataset import split_validation
from training.distillation import Teacher
from training.optimizer import prepare_for_graph
from training.recipe import Recipe
from training.recipes import RECIPES
from training.trainer import Trainer
from training.world import World

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
# Muon, Adam with dropout, SGD; on a device also a teacher, and networks that would take a CPU too long.
ON_CPU = ("cifarnet", "seed004", "seed003-batchnorm")
ON_CUDA = (*ON_CPU, "cifarnet-distilled", "resnet18", "alexnet_bn", "seed000-resnet18")
# Some of a device's sums, as in the gradient of pooling, have no fixed order.
TOLERANCE = {"cpu": 0.0, "cuda": 1e-2}


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        yield


def small(name: str) -> Recipe:
    """Eight steps in two epochs, each with a learning rate of its own."""
    return replace(RECIPES[name], batch_size=10, validation=0.5, epochs=2, schedule="linear")


def trainer_of(recipe: Recipe, device: str, *, graphed: bool) -> Trainer:
    """With a graph, or what of one the device has."""
    data, place = few_images(8, seed=1), torch.device(device)
    training, validation = (data.subset(part) for part in split_validation(data, recipe.validation, 0))
    torch.manual_seed(1)
    teacher = (
        Teacher([Classifier("lenet", num_classes=len(data.classes)).eval()], recipe, place) if recipe.teachers else None
    )
    trainer = Trainer(recipe, training, validation, place, World(), teacher)
    if not graphed:
        trainer.graph = None
    elif trainer.graph is None:
        prepare_for_graph(trainer.optimizers)
    return trainer


def steps(trainer: Trainer) -> Iterator[Tensor]:
    """All of the recipe's; yields their losses."""
    for _ in range(trainer.recipe.epochs):
        yield from trainer.train_epoch()
        trainer.end_epoch()


def losses(trainer: Trainer) -> Tensor:
    return torch.stack(list(steps(trainer))).cpu()


@pytest.mark.parametrize(
    ("device", "name"),
    [*(("cpu", name) for name in ON_CPU), *(pytest.param("cuda", name, marks=CUDA) for name in ON_CUDA)],
)
def test_a_graph_trains_as_the_step_does_that_it_was_captured_from(device: str, name: str) -> None:
    graphed, eager = (trainer_of(small(name), device, graphed=graphed) for graphed in (True, False))
    assert_close(losses(graphed), losses(eager), atol=TOLERANCE[device], rtol=TOLERANCE[device])
    one, other = (deepcopy(trainer.state()) for trainer in (graphed, eager))
    assert [groups(state) for state in one["optimizers"]] == [groups(state) for state in other["optimizers"]]


def groups(state: dict[str, object]) -> list[dict[str, object]]:
    found = state["param_groups"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("device", DEVICES)
def test_a_graph_drops_out_in_each_step_what_the_step_itself_would(device: str) -> None:
    masks = [dropped(trainer_of(small("seed001"), device, graphed=graphed)) for graphed in (True, False)]
    assert all(torch.equal(one, other) for one, other in zip(*masks, strict=True))
    assert not any(torch.equal(one, other) for one, other in pairwise(masks[0]))


def dropped(trainer: Trainer) -> list[Tensor]:
    """What dropout left of ones in every step; float32 [batch, 64]."""
    network = trainer.network = trainer.model.network = Dropping().to(trainer.device)
    return [network.kept[-1].clone() for _ in steps(trainer)]
