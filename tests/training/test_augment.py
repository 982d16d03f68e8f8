"""Augmentation is what it says: compared with a slow path that goes image by image in numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cifar_models.cifar10 import LABELS
from cifar_models.dataset import ImageSet
from cifar_models.picture import Pixels
from training.augment import Views, cut_out, draw_views, lay_out, take
from training.recipe import Recipe
from training.trainer import Trainer
from training.world import World

CPU = torch.device("cpu")
FIELDS = ("index", "shift", "flip", "hole", "patch")


@pytest.mark.parametrize("crop", [0, 1, 4, 31])
@pytest.mark.parametrize("flip", ["none", "random", "alternating"])
def test_taken_images_are_those_of_the_slow_path(crop: int, flip: Any) -> None:
    images = random_images(50)
    views = draw(50, epoch=1, crop=crop, flip=flip)
    assert np.array_equal(
        take(lay_out(torch.from_numpy(images), crop), views).numpy(), take_slowly(images, views, crop)
    )


def test_an_image_may_be_shifted_both_ways_and_flipped_at_once() -> None:
    images = random_images(2)
    shifts = torch.tensor([(down, right) for down in (-4, 0, 3) for right in (-4, 0, 3)] * 2)
    flips = torch.tensor([(upside_down, mirrored) for upside_down in (False, True) for mirrored in (False, True)])
    flips = flips.repeat(5, 1)[: len(shifts)]
    views = Views(torch.tensor([0, 1] * 9), shifts, flips, torch.zeros_like(shifts), torch.zeros(18, 4))
    assert np.array_equal(take(lay_out(torch.from_numpy(images), 4), views).numpy(), take_slowly(images, views, 4))


def test_an_epoch_shows_every_image_once() -> None:
    index = draw(1000).index
    assert torch.equal(index.sort().values, torch.arange(1000))
    assert not torch.equal(index, torch.arange(1000))


def test_a_tripled_epoch_shows_every_image_as_it_is_upside_down_and_mirrored() -> None:
    views = draw(100, tripled=True, flip="none")
    seen = sorted(zip(views.index.tolist(), map(tuple, views.flip.tolist()), strict=True))
    assert seen == [(index, flips) for index in range(100) for flips in ((False, False), (False, True), (True, False))]


def test_batches_together_are_the_epoch() -> None:
    views = draw(100, cutmix=0.5)
    batches = [views.batch(start, 30) for start in range(0, 100, 30)]
    assert [len(batch.index) for batch in batches] == [30, 30, 30, 10]
    for name in FIELDS:
        assert torch.equal(torch.cat([getattr(batch, name) for batch in batches]), getattr(views, name))


def test_the_commands_of_the_model_cards_show_the_views_that_they_showed() -> None:
    """Whatever is drawn besides by now: a draw that comes before these would change every recipe's views."""
    index, shift, flip, hole, patch, *_ = draw(4)
    assert index.tolist() == [0, 1, 3, 2]
    assert shift.tolist() == [[2, 3], [2, 3], [-3, -3], [-4, 4]]
    assert flip[:, 1].tolist() == [True, False, True, False]
    assert hole.tolist() == [[14, 0], [19, 2], [20, 20], [8, 22]]
    assert patch.tolist() == [[0] * 4, [2, 0, 16, 12], [0] * 4, [0] * 4]


def test_views_are_a_function_of_seed_and_epoch() -> None:
    views = draw(1000, epoch=3)
    torch.manual_seed(5)  # the global generator has no say
    again = draw(1000, epoch=3)
    others = [draw(1000, epoch=4), draw(1000, epoch=3, seed=1)]
    for name in FIELDS:
        assert torch.equal(getattr(again, name), getattr(views, name))
        assert all(not torch.equal(getattr(other, name), getattr(views, name)) for other in others)


@pytest.mark.parametrize("epoch", range(4))
def test_alternating_flip_shows_every_image_from_both_sides_in_two_epochs(epoch: int) -> None:
    one, next_one = (flip_of_each_image(draw(1000, epoch=e, flip="alternating")) for e in (epoch, epoch + 1))
    assert torch.equal(one, ~next_one)
    assert 400 < one.sum() < 600


def test_random_flip_draws_anew_in_every_epoch() -> None:
    one, next_one = (flip_of_each_image(draw(1000, epoch=epoch, flip="random")) for epoch in (0, 1))
    assert 400 < one.sum() < 600
    assert 400 < (one == next_one).sum() < 600


def test_without_flip_no_image_is_mirrored() -> None:
    assert not draw(1000, flip="none").flip.any()


@pytest.mark.parametrize("crop", [0, 2, 4])
def test_shifts_reach_as_far_as_the_crop_allows_both_ways(crop: int) -> None:
    shift = draw(2000, crop=crop).shift
    for axis in (0, 1):
        assert sorted(set(shift[:, axis].tolist())) == list(range(-crop, crop + 1))


@pytest.mark.parametrize("side", [1, 7, 8, 40])
def test_cutout_zeroes_its_square_and_nothing_else(side: int) -> None:
    x = torch.rand(200, 3, 32, 32) + 1
    before = x.clone()
    views = draw(200, cutout=side)
    expected = x.clone()
    for image, (top, left) in zip(expected, views.hole.tolist(), strict=True):
        image[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
    assert torch.equal(cut_out(x, views, side), expected)
    assert torch.equal(x, before)


def test_the_middle_of_the_cutout_lies_anywhere_in_the_image() -> None:
    middle = draw(5000, cutout=8).hole + 4
    for axis in (0, 1):
        assert sorted(set(middle[:, axis].tolist())) == list(range(32))


@pytest.mark.parametrize("model", ["lenet", "alexnet_224"])
def test_cutout_covers_its_share_of_what_the_network_sees(model: str) -> None:
    recipe = Recipe(model=model, epochs=1, batch_size=64, crop=0, flip="none", cutout=16, precision="fp32")
    white = ImageSet(np.full((64, 32, 32, 3), 255, np.uint8), np.zeros(64, np.int64), LABELS)
    trainer = Trainer(recipe, white, white, CPU, World())
    recorder = Recorder()
    trainer.network = trainer.model.network = recorder
    list(trainer.train_epoch())
    hidden = (recorder.seen < recorder.seen.max() / 2).float().mean().item()
    assert 0.10 < hidden < 0.25  # a quarter of the image, less what lies outside


class Recorder(nn.Module):
    """A network that keeps what it was last given."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 10)
        self.seen = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def draw(count: int, *, epoch: int = 0, **recipe: Any) -> Views:
    settings = {"crop": 4, "cutout": 8, "cutmix": 0.5, "flip": "random", **recipe}
    return draw_views(Recipe(model="lenet", epochs=8, **settings), count, 32, epoch, CPU)


def flip_of_each_image(views: Views) -> Tensor:
    return views.flip[views.index.argsort(), 1]


def random_images(count: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def take_slowly(images: Pixels, views: Views, crop: int) -> Pixels:
    """Flip, pad by reflection, crop: one image after the other."""
    taken = []
    for index, (down, right), flip in zip(views.index.tolist(), views.shift.tolist(), views.flip.tolist(), strict=True):
        image = np.flip(images[index], tuple(axis for axis in (0, 1) if flip[axis]))
        padded = np.pad(image, ((crop, crop), (crop, crop), (0, 0)), mode="reflect")
        taken.append(padded[crop + down : crop + down + 32, crop + right : crop + right + 32])
    return np.stack(taken)
