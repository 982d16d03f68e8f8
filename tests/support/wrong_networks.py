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


class InOneLayout(Classifier):
    """Right for tensors whose axes lie in memory as they are counted, and for no others."""

    def logits(self, images: Tensor) -> Tensor:
        logits: Tensor = louder_in_other_layouts(images, super().logits(images))
        return logits


@torch.jit.script_if_tracing  # type: ignore[untyped-decorator]
def louder_in_other_layouts(images: Tensor, logits: Tensor) -> Tensor:
    return logits if images.is_contiguous() else 2 * logits


class ForTwo(Classifier):
    """Counts on the batch that it was traced with."""

    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images).reshape(2, len(LABELS))
