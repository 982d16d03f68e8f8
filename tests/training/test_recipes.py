"""Every recipe that ships: it trains the whole of its network, and says what the tutorial it comes from says."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import RECIPES_OF_THEM, biases_before_batch_norm
from small_runs import few_images

from cifar_models.cifar10 import LABELS
from cifar_models.classifier import Classifier
from training import fit
from training.augment import draw_views, lay_out, take
from training.model import NORMALISATION
from training.recipe import Recipe
from training.recipes import RECIPES
from training.schedule import lr_factor
from training.trainer import Trainer
from training.world import World

CPU = torch.device("cpu")
STEPS = 2
GIANTS = {"resnet18", "alexnet_224"}  # heavy on a CPU


@pytest.mark.parametrize("name", RECIPES_OF_THEM)
def test_a_few_steps_move_every_trainable_parameter_and_the_weights_make_a_classifier(name: str) -> None:
    recipe = replace(
        RECIPES[name], batch_size=min(RECIPES[name].batch_size, 2 if RECIPES[name].model in GIANTS else 8), epochs=1
    )
    trainer = Trainer(recipe, few_images(8, seed=1), few_images(2, seed=2), CPU, World())
    before = {name: value.detach().clone() for name, value in trainer.model.network.named_parameters()}
    losses = [loss.item() for loss, _ in zip(trainer.train_epoch(), range(STEPS), strict=False)]
    assert len(losses) == STEPS
    assert np.isfinite(losses).all()
    unmoved = {
        name
        for name, value in trainer.model.network.named_parameters()
        if value.requires_grad and torch.equal(value, before[name])
    }
    assert unmoved <= biases_before_batch_norm(trainer.model.network)
    assert_weights_make_the_same_classifier(trainer)


def assert_weights_make_the_same_classifier(trainer: Trainer) -> None:
    mean, std = NORMALISATION[trainer.recipe.normalisation]
    fresh = Classifier(trainer.recipe.model, num_classes=len(LABELS), mean=mean, std=std)
    fresh.load_state_dict(trainer.weights(), strict=True)
    fresh = fresh.to(memory_format=torch.channels_last).eval()  # sums in another layout differ in their last bits
    images = torch.from_numpy(few_images(1, seed=3).images[:2])
    with torch.inference_mode():
        assert torch.equal(fresh.logits(images), trainer.model.eval().logits(images))


def test_the_list_names_every_recipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fit", "--list"])
    assert fit.main() == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RECIPES)


def test_every_system_of_the_seeds_has_a_recipe() -> None:
    depths = {f"resnet{depth}_imagenet_stem" for depth in (18, 34, 50, 101, 152)}
    assert {models("seed000"), models("seed001"), models("seed002")} == {
        frozenset({"alexnet", *depths}),
        frozenset({"lenet_120"}),
        frozenset({"lenet_grey", "alexnet_224"}),
    }
    assert {models("seed003"), models("seed004")} == {
        frozenset({"lenet", "batchnorm_net", "vgg11"}),
        frozenset({"alexnet_bn"}),
    }


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("seed000")])
def test_seed_000_is_adam_with_a_tenth_of_the_rate_from_epoch_12_on(name: str) -> None:
    recipe = RECIPES[name]
    assert (recipe.optimizer, recipe.lr, recipe.epochs, recipe.batch_size) == ("adam", 1e-3, 15, 500)
    rates = [recipe.lr * factor for factor in factors(recipe)]
    assert rates == pytest.approx([1e-3] * 22 + [1e-4] * 8)  # two steps an epoch
    assert (recipe.normalisation, recipe.tensorboard) == ("none", "seed000")


def test_seed_000_shows_each_image_as_it_is_upside_down_and_mirrored() -> None:
    recipe, data = RECIPES["seed000-alexnet"], few_images(2, seed=1)
    views = draw_views(recipe, len(data), 32, 0, CPU)
    shown = take(lay_out(torch.from_numpy(data.images), recipe.crop), views).numpy()
    assert len(shown) == 3 * len(data)
    for index, image in enumerate(data.images):
        found = {view.tobytes() for view in shown[views.index.numpy() == index]}
        assert found == {image.tobytes(), image[::-1].tobytes(), image[:, ::-1].tobytes()}


def test_seed_001_is_sgd_with_plain_momentum_in_batches_of_4() -> None:
    recipe = RECIPES["seed001"]
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.nesterov) == ("sgd", 1e-3, 0.9, False)
    assert (recipe.batch_size, recipe.epochs, recipe.normalisation) == (4, 5, "half")
    assert (recipe.weight_decay, recipe.flip, recipe.crop, recipe.tripled) == (0, "none", 0, False)
    assert set(factors(recipe)) == {1.0}


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("seed003")])
def test_seed_003_has_ten_epochs_in_batches_of_128_or_of_32_for_batch_norm(name: str) -> None:
    recipe = RECIPES[name]
    batch_size = 32 if recipe.model == "batchnorm_net" else 128
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.nesterov) == ("sgd", 1e-3, 0.9, False)
    assert (recipe.batch_size, recipe.epochs, recipe.normalisation) == (batch_size, 10, "half")
    assert set(factors(recipe)) == {1.0}


def test_seed_004_waits_for_the_validation_loss() -> None:
    recipe = RECIPES["seed004"]
    assert (recipe.optimizer, recipe.batch_size, recipe.epochs) == ("adam", 16, 55)
    assert (recipe.schedule, recipe.plateau_patience, recipe.early_stop) == ("plateau", 4, 7)
    assert (recipe.validation, recipe.seed, recipe.normalisation) == (0.2, 42, "none")


@pytest.mark.parametrize(("normalisation", "low", "high"), [("none", 0, 1), ("half", -1, 1)])
def test_a_tutorial_s_normalisation_maps_levels_linearly_to_its_range(
    normalisation: str, low: float, high: float
) -> None:
    mean, std = NORMALISATION[normalisation]
    preprocess = Classifier("lenet", num_classes=10, mean=mean, std=std).preprocess
    levels = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 32, 32, 3)
    expected = torch.linspace(low, high, 256)[:, None, None, None].expand(256, 3, 32, 32)
    torch.testing.assert_close(preprocess(levels), expected, rtol=0, atol=1e-6)


def models(seed: str) -> frozenset[str]:
    return frozenset(recipe.model for name, recipe in RECIPES.items() if name.startswith(seed))


def factors(recipe: Recipe) -> list[float]:
    return [
        lr_factor(recipe, epoch=epoch, step=step, steps_per_epoch=2, validation_losses=[])
        for epoch in range(recipe.epochs)
        for step in (0, 1)
    ]
