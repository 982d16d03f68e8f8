"""The learning rate's course, Muon's promises, and that every parameter has exactly one optimizer."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cifar_models.registry import create_model, list_models
from training.muon import Muon, orthogonal
from training.optimizer import build_optimizers, set_learning_rate
from training.recipe import Recipe
from training.schedule import linear_factor

SHAPES = [(64, 216), (64, 576), (192, 1728), (6, 75), (16, 400), (512, 27), (576, 192)]  # wide, then tall


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 1 / 11), (4, 5 / 11), (9, 10 / 11), (10, 1.0), (55, 0.5), (99, 1 / 90)]
)
def test_learning_rate_rises_to_its_peak_and_falls_to_nearly_zero(step: int, factor: float) -> None:
    assert linear_factor(step, total_steps=100, warmup=0.1) == pytest.approx(factor)


@pytest.mark.parametrize("total_steps", [1, 2, 7, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.99])
def test_learning_rate_has_one_peak_and_never_vanishes_or_exceeds_it(total_steps: int, warmup: float) -> None:
    course = [linear_factor(step, total_steps=total_steps, warmup=warmup) for step in range(total_steps)]
    peak = course.index(max(course))
    assert all(0 < factor <= 1 for factor in course)
    assert all(before < after for before, after in pairwise(course[: peak + 1]))
    assert all(before > after for before, after in pairwise(course[peak:]))


def test_without_warmup_the_first_step_is_the_peak() -> None:
    assert linear_factor(0, total_steps=10, warmup=0) == 1


def test_every_optimizer_follows_its_own_peak() -> None:
    optimizers = build_optimizers(
        create_model("cifarnet", num_classes=10), recipe(optimizer="muon", lr=0.4, filter_lr=0.02)
    )
    for factor in (1.0, 0.5, 0.25):  # a share of the peak, not of the last value
        set_learning_rate(optimizers, factor)
        sgd, muon = ({group["lr"] for group in optimizer.param_groups} for optimizer in optimizers)
        assert list(sgd) == pytest.approx([0.4 * factor])
        assert list(muon) == pytest.approx([0.02 * factor])


@pytest.mark.parametrize("shape", SHAPES)
def test_an_orthogonal_matrix_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(orthogonal(random(shape)))
    assert values.min() > 0.5
    assert values.max() < 1.3


@pytest.mark.parametrize("shape", SHAPES)
def test_an_orthogonal_matrix_keeps_the_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = random(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonal(matrix) @ right.T
    assert turned.diagonal().min() > 0.5
    assert (turned - turned.diagonal().diag()).abs().max() < 0.05


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_an_orthogonal_matrix_does_not_depend_on_the_scale(scale: float) -> None:
    matrix = random((64, 576))
    torch.testing.assert_close(orthogonal(matrix * scale), orthogonal(matrix), rtol=0, atol=0.01)


def test_matrices_are_made_orthogonal_each_by_itself() -> None:
    matrices = torch.stack([random((64, 216)), 100 * random((64, 216), seed=1), torch.zeros(64, 216)])
    for together, alone in zip(orthogonal(matrices), map(orthogonal, matrices), strict=True):
        torch.testing.assert_close(together, alone, rtol=0, atol=0.01)


def test_muon_gives_filters_what_it_gives_them_alone() -> None:
    """Whatever their shapes: those of one shape are computed together."""
    shapes = [(16, 8, 3, 3), (32, 16, 3, 3), (16, 8, 3, 3), (32, 16, 1, 1), (16, 8, 3, 3)]
    together = [trainable(random(shape, seed=seed)) for seed, shape in enumerate(shapes)]
    alone = [trainable(each) for each in together]
    optimizers = [Muon(together, lr=0.1, momentum=0.9), *(Muon([each], lr=0.1, momentum=0.9) for each in alone)]
    for turn in range(2):
        for seed, pair in enumerate(zip(together, alone, strict=True)):
            for each in pair:
                each.grad = random(tuple(each.shape), seed=100 * turn + seed)
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("has_bfloat16", [False, True])
def test_a_matrix_is_made_orthogonal_in_bfloat16_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": has_bfloat16})
    found = orthogonal(random((16, 72)))
    assert torch.equal(found, found.bfloat16().float()) == has_bfloat16


def test_a_matrix_of_zeros_stays_zero() -> None:
    assert not orthogonal(torch.zeros(4, 9)).any()


@pytest.mark.parametrize("norm", [0.01, 100.0])
def test_muon_brings_the_norm_of_filters_to_the_root_of_their_number(norm: float) -> None:
    filters = trainable(random((64, 24, 3, 3)) * norm)
    step(Muon([filters], lr=0.03, momentum=0.85), filters, random((64, 24, 3, 3), seed=1))
    assert filters.norm().item() == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("gradient", [1e-3, 1e3])
def test_the_learning_rate_of_muon_is_the_relative_size_of_a_step(gradient: float) -> None:
    start = random((64, 24, 3, 3))
    filters = trainable(start)
    step(Muon([filters], lr=0.03, momentum=0.0), filters, random((64, 24, 3, 3), seed=1) * gradient)
    moved = (filters - start * 8 / start.norm()).norm().item() / 8
    assert 0.5 * 0.03 < moved < 1.3 * 0.03


def test_muon_goes_down_the_gradient_and_goes_on_by_momentum() -> None:
    filters, gradient = trainable(random((16, 8, 3, 3))), random((16, 8, 3, 3), seed=1)
    muon = Muon([filters], lr=0.1, momentum=0.9)
    for given in (gradient, torch.zeros_like(gradient)):
        before = filters.detach() * 4 / filters.detach().norm()
        step(muon, filters, given)
        assert ((filters - before) * gradient).sum() < 0


def test_muon_leaves_filters_without_a_gradient_alone() -> None:
    filters = trainable(random((16, 8, 3, 3)))
    before = filters.detach().clone()
    Muon([filters], lr=0.1, momentum=0.9).step()
    assert torch.equal(filters, before)


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_every_trainable_parameter_is_in_exactly_one_optimizer(name: str, optimizer: str) -> None:
    with torch.device("meta"):
        network = create_model(name, num_classes=10)
    optimizers = build_optimizers(network, recipe(optimizer=optimizer))
    found = [id(parameter) for optimizer in optimizers for parameter in parameters(optimizer)]
    assert sorted(found) == sorted(id(parameter) for parameter in network.parameters() if parameter.requires_grad)


def test_a_frozen_parameter_is_in_no_optimizer() -> None:
    network = create_model("cifarnet", num_classes=10)
    stem = network.get_parameter("stem.weight")
    assert not stem.requires_grad
    for optimizer in build_optimizers(network, recipe(optimizer="muon")):
        assert all(parameter is not stem for parameter in parameters(optimizer))


def test_muon_has_the_filters_and_sgd_the_rest() -> None:
    sgd, muon = build_optimizers(create_model("resnet20", num_classes=10), recipe(optimizer="muon"))
    assert isinstance(muon, Muon)
    assert {parameter.ndim for parameter in parameters(muon)} == {4}
    assert {parameter.ndim for parameter in parameters(sgd)} == {1, 2}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_a_network_without_filters_biases_and_norms_leaves_no_group_empty(optimizer: str) -> None:
    """A CUDA graph asks each group's first parameter where it is, and Muon takes no empty list."""
    filters, rest = nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4, 2, bias=False)
    for network in (filters, rest, nn.Sequential(filters, rest)):
        optimizers = build_optimizers(network, recipe(optimizer=optimizer))
        assert all(group["params"] for each in optimizers for group in each.param_groups)
        assert sum(len(parameters(each)) for each in optimizers) == len(list(network.parameters()))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_weights_decay_but_biases_and_norms_do_not(momentum: float) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    before = [parameter.detach().clone() for parameter in network.parameters()]
    (sgd,) = build_optimizers(network, recipe(lr=0.1, weight_decay=0.5, momentum=momentum))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    sgd.step()
    for parameter, start in zip(network.parameters(), before, strict=True):
        shrinks = parameter.ndim > 1
        assert torch.equal(parameter, start) != shrinks
        assert (parameter.norm() < start.norm()) == shrinks


def recipe(**settings: Any) -> Recipe:
    return Recipe(model="cifarnet", epochs=1, **settings)


def random(shape: tuple[int, ...], *, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def trainable(start: Tensor) -> Tensor:
    return nn.Parameter(start.clone())


def step(optimizer: torch.optim.Optimizer, parameter: Tensor, gradient: Tensor) -> None:
    parameter.grad = gradient
    optimizer.step()


def parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
