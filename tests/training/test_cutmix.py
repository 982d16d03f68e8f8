"""CutMix is what it says: compared with a slow path that goes image by image."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_augment import draw, random_images

from training.cutmix import mixed_loss, paste


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_patches_are_of_any_size_in_about_that_share_of_the_images(share: float) -> None:
    patch = draw(20_000, cutmix=share).patch
    assert patch.min() == 0
    assert patch.max() == 32
    assert bool((patch[:, 2:] >= patch[:, :2]).all())
    sides = patch[:, 2:] - patch[:, :2]
    mixed = sides.prod(1) > 0
    assert mixed.float().mean().item() == pytest.approx(share, rel=0.04)  # of 1 in 2,000 nothing is left by rounding
    # The area is uniform in [0, 1], the middle in the image; 0.321 is left of 0.5 when what lies outside is cut off,
    # by simulation in continuous numbers.
    assert sides[mixed].prod(1).float().mean().item() / 1024 == pytest.approx(0.321, rel=0.04)


def test_without_it_every_patch_is_empty() -> None:
    assert not draw(100, cutmix=0).patch.any()


def test_it_changes_nothing_else_that_is_drawn() -> None:
    with_it, without = draw(100, cutmix=0.5), draw(100, cutmix=0)
    for name in ("index", "shift", "flip", "hole"):
        assert torch.equal(getattr(with_it, name), getattr(without, name))


def test_the_partner_is_the_view_before_in_the_epoch_whatever_the_batch() -> None:
    views = draw(100)
    partner = torch.cat([views.previous().batch(start, 30).index for start in range(0, 100, 30)])
    assert partner.tolist() == [views.index[-1].item(), *views.index[:-1].tolist()]


def test_pasted_images_are_those_of_the_slow_path() -> None:
    pixels, others = random_images(200), random_images(201)[1:]
    patch = draw(200, cutmix=0.7).patch
    expected = pixels.copy()
    for image, other, (top, left, bottom, right) in zip(expected, others, patch.tolist(), strict=True):
        image[top:bottom, left:right] = other[top:bottom, left:right]
    assert np.array_equal(paste(torch.from_numpy(pixels), torch.from_numpy(others), patch).numpy(), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_both_labels_by_their_areas(smoothing: float) -> None:
    logits, patch = torch.randn(50, 10), draw(50, cutmix=0.7).patch
    labels, others = torch.randint(0, 10, (50,)), torch.randint(0, 10, (50,))
    area = ((patch[:, 2] - patch[:, 0]) * (patch[:, 3] - patch[:, 1]) / 1024)[:, None]
    target = (1 - area) * F.one_hot(labels, 10) + area * F.one_hot(others, 10)
    expected = F.cross_entropy(logits, target, label_smoothing=smoothing)
    found = mixed_loss(logits, labels, others, patch, smoothing=smoothing, size=32)
    assert torch.allclose(found, expected, atol=1e-6)
