"""Networks that take a checkpoint's weights and compute something else with them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cifar_models.cifar10 import LABELS
from cifar_models.classifier import Classifier


class Reversed(Classifier):
    """Takes BGR for RGB."""

    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images.flip(3))


class NormalisedTwice(Classifier):
    def logits(self, images: Tensor) -> Tensor:
        once = self.preprocess(images)
        logits: Tensor = self.network(255 * once * self.preprocess.scale - self.preprocess.shift)
        return logits


class DroppingOut(Classifier):
    """Forgot that it is evaluated."""

    def logits(self, images: Tensor) -> Tensor:
        return F.dropout(super().logits(images), 0.5, training=True)


class Comparing(Classifier):
    """Lets an image's answer depend on its neighbours, as batch norm does in training."""

    def logits(self, images: Tensor) -> Tensor:
        logits = super().logits(images)
        return logits - logits.mean(0)


class Undefined(Classifier):
    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images) * torch.nan


WRONG = [Reversed, NormalisedTwice, DroppingOut, Comparing, Undefined]


class ForTwo(Classifier):
    """Counts on the batch that it was traced with."""

    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images).reshape(2, len(LABELS))
