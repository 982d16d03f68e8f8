"""Optimizers of a recipe."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.muon import Muon
from training.recipe import Recipe


def build_optimizers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """The recipe's optimizer, or Muon for convolution filters and SGD for the rest. Frozen parameters are left out."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adam":
        optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(trained, lr=recipe.lr, fused=True)]
    elif recipe.optimizer == "sgd":
        optimizers = [build_sgd(trained, recipe)]
    else:
        optimizers = [
            build_sgd([parameter for parameter in trained if parameter.ndim != 4], recipe),
            Muon(
                [parameter for parameter in trained if parameter.ndim == 4],
                lr=recipe.filter_lr,
                momentum=recipe.momentum,
            ),
        ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def build_sgd(parameters: Sequence[Tensor], recipe: Recipe) -> torch.optim.SGD:
    return torch.optim.SGD(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov and recipe.momentum > 0,
        fused=True,
    )


def set_learning_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
