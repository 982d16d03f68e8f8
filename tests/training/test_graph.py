"""A training step as a CUDA graph: the same step, and the same state to save, as without.

The CPU has no graphs. There the learning rates alone are kept where a graph would read them.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from unittest.mock import MagicMock

import pytest
import torch
from small_runs import few_images
from test_distributed import Dropping
from torch import Tensor
from torch.testing import assert_close

from cifar_models.classifier import Classifier
from cifar_models.dataset import split_validation
from training.distillation import Teacher
from training.graph import GraphedStep
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


AVERAGED = replace(small("seed003-batchnorm"), ema=0.5)


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
def test_a_graph_averages_the_weights_as_the_step_does(device: str) -> None:
    graphed, eager = (trainer_of(AVERAGED, device, graphed=graphed) for graphed in (True, False))
    assert_close(losses(graphed), losses(eager), atol=TOLERANCE[device], rtol=TOLERANCE[device])
    assert_close(graphed.weights(), eager.weights(), atol=TOLERANCE[device], rtol=TOLERANCE[device])


@CUDA
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_step_waits_for_the_device() -> None:
    taken = steps(trainer_of(AVERAGED, "cuda", graphed=True))
    for _ in range(5):  # the first one of an epoch takes its views to the device
        next(taken)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            next(taken)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", DEVICES)
def test_a_graph_drops_out_in_each_step_what_the_step_itself_would(device: str) -> None:
    masks = [dropped(trainer_of(small("seed001"), device, graphed=graphed), Dropping()) for graphed in (True, False)]
    assert all(torch.equal(one, other) for one, other in zip(*masks, strict=True))
    assert not any(torch.equal(one, other) for one, other in pairwise(masks[0]))


def dropped(trainer: Trainer, network: Dropping) -> list[Tensor]:
    """What dropout left of ones in every step of this network; float32 [batch, 64]."""
    trainer.network = trainer.model.network = network.to(trainer.device)
    return [network.kept[-1].clone() for _ in steps(trainer)]


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_that_cannot_be_captured_is_taken_as_it_is_and_the_reason_said(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, eager = (trainer_of(small("seed001"), device, graphed=graphed) for graphed in (True, False))
    if device == "cpu":
        pretend_to_capture(monkeypatch)
        tried.graph = GraphedStep(tried.optimizers, tried.device)
    with pytest.warns(UserWarning, match="This step is no CUDA graph, and slower: ") as warned:
        masks = dropped(tried, Looking())
    assert not any("previous error" in str(each.message) for each in warned)
    assert all(torch.equal(one, other) for one, other in zip(masks, dropped(eager, Looking()), strict=True))


def test_a_capture_that_fails_without_a_word_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(small("seed001"), "cpu", graphed=False)
    pretend_to_capture(monkeypatch)
    monkeypatch.setattr(Looking, "reason", "")
    trainer.graph = GraphedStep(trainer.optimizers, trainer.device)
    with pytest.warns(UserWarning, match="This step is no CUDA graph, and slower: RuntimeError"):
        dropped(trainer, Looking())


class Looking(Dropping):
    """A network that asks for a number, for which a device must be waited for: no capture allows it."""

    reason = "operation not permitted when stream is capturing\nand what else there is to say"

    def forward(self, x: Tensor) -> Tensor:
        if Capture.is_on:
            raise RuntimeError(self.reason)
        logits = super().forward(x)
        logits.sum().item()
        return logits


class Capture:
    """torch.cuda.graph without a device: it ends as it does when something in it was not permitted."""

    is_on = False

    def __init__(self, graph: object, stream: object) -> None:
        pass

    def __enter__(self) -> None:
        Capture.is_on = True

    def __exit__(self, *_: object) -> None:
        Capture.is_on = False
        raise RuntimeError("operation failed due to a previous error during capture")


def pretend_to_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Stream", "stream", "current_stream", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    monkeypatch.setattr("training.graph.renew_generator", lambda device: None)  # there is none of a device
