"""What labelled images give: a validation split, a sample, a fingerprint."""

from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_images

from cifar_models.cifar10 import LABELS
from cifar_models.dataset import ImageSet, load_images, split_validation
from cifar_models.errors import InputError


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_the_validation_split_takes_its_share_of_every_class(share: float) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [400, 100, 40]))
    training, validation = split_validation(labelled(labels), share, seed=0)
    assert np.array_equal(np.bincount(labels[validation]), [400 * share, 100 * share, 40 * share])
    assert np.array_equal(np.sort(np.concatenate([training, validation])), np.arange(540))


def test_the_validation_split_depends_on_the_seed_alone() -> None:
    labels = np.repeat(np.arange(10), 50)
    first, again, other = (split_validation(labelled(labels), 0.2, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_class_too_small_to_be_split_is_named() -> None:
    with pytest.raises(InputError, match=r"validation=0\.1 would hold out 0 of the 4 images of 'automobile', and"):
        split_validation(labelled(np.repeat([0, 1, 2], [40, 4, 40])), 0.1, seed=0)


def labelled(labels: np.ndarray) -> ImageSet:
    return ImageSet(np.zeros((len(labels), 32, 32, 3), np.uint8), labels, LABELS)


def test_a_sample_of_sorted_images_has_all_labels_and_is_always_the_same(tiny_data: Path) -> None:
    data = load_images(tiny_data, "train")
    sample = data.sample(100)
    assert np.bincount(sample.labels, minlength=10).min() > 0
    assert len({image.tobytes() for image in sample.images}) == 100
    assert sample.fingerprint() == load_images(tiny_data, "train").sample(100).fingerprint()
    assert len(data.sample(1000)) == len(data)


def test_the_fingerprint_is_that_of_pixels_labels_and_classes() -> None:
    images, labels = tiny_images(0, 6, 1), np.array([0, 1, 2] * 2)
    one_pixel, one_label = images.copy(), labels.copy()
    one_pixel[5, 31, 31, 2] ^= 1
    one_label[5] = 0
    data = ImageSet(images, labels, ("a", "b", "c"))
    others = [
        ImageSet(one_pixel, labels, data.classes),
        ImageSet(images, one_label, data.classes),
        ImageSet(images, labels, ("a", "b", "d")),
        data.subset(np.array([1, 0, 2, 3, 4, 5])),
        data.subset(np.arange(5)),
    ]
    assert data.subset(np.arange(6)).fingerprint() == data.fingerprint()
    assert len({other.fingerprint() for other in [data, *others]}) == 6
