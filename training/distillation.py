"""Learning from trained networks: what they make of a view is its target, beside its label."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cifar_models.classifier import Classifier
from training.augment import Views, cut_out
from training.recipe import Recipe


class Teacher:
    """The mean answer of trained, calibrated classifiers, as knowledge distillation takes it (Hinton et al. 2015)."""

    def __init__(self, classifiers: Sequence[Classifier], recipe: Recipe, device: torch.device) -> None:
        self.classifiers = [each.to(device).to(memory_format=torch.channels_last) for each in classifiers]
        self.cutout = recipe.cutout
        self.temperature = recipe.teacher_temperature
        self.weight = recipe.teacher_weight

    @torch.no_grad()
    def targets(self, pixels: Tensor, views: Views) -> Tensor:
        """Probabilities at the temperature, float32 [batch, classes], of `pixels` uint8 [batch, 32, 32, 3].

        The teachers see the very same crop, flip and hole: a consistent teacher (Beyer et al. 2022).
        """
        answers = [self.logits(each, pixels, views) / self.temperature for each in self.classifiers]
        return torch.stack([answer.softmax(1) for answer in answers]).mean(0)

    def logits(self, classifier: Classifier, pixels: Tensor, views: Views) -> Tensor:
        x = classifier.preprocess(pixels)
        logits: Tensor = classifier.network(cut_out(x, views, self.cutout))
        return classifier.calibrated(logits.float())

    def loss(self, logits: Tensor, targets: Tensor, label_loss: Tensor) -> Tensor:
        """Share `weight` of the divergence from the targets, the rest of the labels' own loss.

        Times the temperature squared, so that the gradient's size does not depend on it (Hinton et al. 2015).
        """
        divergence = F.kl_div((logits / self.temperature).log_softmax(1), targets, reduction="batchmean")
        return (1 - self.weight) * label_loss + self.weight * self.temperature**2 * divergence
