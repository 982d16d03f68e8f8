"""The model as training builds it, before its first step."""

import numpy as np
import torch
import torch.nn.functional as F

from cifar_models.dataset import ImageSet
from training.model import build_model
from training.recipes import RECIPES


def test_the_stem_whitens_images_of_all_labels_when_they_are_sorted_by_label() -> None:
    generator = np.random.default_rng(0)
    calm, wild = (128 + spread * generator.standard_normal((5000, 32, 32, 3), np.float32) for spread in (5, 40))
    images = ImageSet(np.concatenate([calm, wild]).clip(0, 255).astype(np.uint8), np.arange(10_000) // 5000, ("a", "b"))
    model = build_model(RECIPES["cifarnet"], images, torch.device("cpu"))
    x = model.preprocess(torch.from_numpy(images.images[::50]))
    powers = F.conv2d(x, dict(model.named_parameters())["network.stem.weight"]).square().mean((0, 2, 3))
    assert torch.allclose(powers, torch.ones(()), atol=0.1)
