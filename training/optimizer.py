"""Optimizers and learning rate of a recipe."""

import torch
from torch import nn

from training.muon import Muon
from training.recipe import Recipe


def build_optimizers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """SGD for everything, or Muon for convolution filters and SGD for the rest. Frozen parameters are left out."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    filters = [p for p in trained if p.ndim == 4] if recipe.filter_lr else []
    rest = [p for p in trained if p.ndim < 4 or not recipe.filter_lr]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SGD(
            [
                {"params": [p for p in rest if p.ndim > 1], "weight_decay": recipe.weight_decay},
                {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            foreach=True,
        )
    ]
    if filters:
        optimizers.append(Muon(filters, lr=recipe.filter_lr, momentum=recipe.momentum))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_learning_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def lr_factor(step: int, *, total_steps: int, warmup: float) -> float:
    """Share of the peak learning rate at `step` (0-based): a linear rise over the warm-up, then a linear fall to 0."""
    warmup_steps = warmup * total_steps
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return (total_steps - step) / (total_steps - warmup_steps)
