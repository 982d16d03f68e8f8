"""Optimizers of a recipe."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.muon import Muon
from training.recipe import Recipe


def build_optimizers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """The recipe's optimizer, or Muon for convolution filters and SGD for the rest. Frozen parameters are left out.

    No group is empty: a network may have no filters, or nothing else, or neither biases nor batch norm.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adam":
        optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(trained, lr=recipe.lr, fused=True)]
    elif recipe.optimizer == "sgd":
        optimizers = [build_sgd(trained, recipe)]
    else:
        filters = [parameter for parameter in trained if parameter.ndim == 4]
        rest = [parameter for parameter in trained if parameter.ndim != 4]
        optimizers = [build_sgd(rest, recipe)] if rest else []
        if filters:
            optimizers.append(Muon(filters, lr=recipe.filter_lr, momentum=recipe.momentum))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def build_sgd(parameters: Sequence[Tensor], recipe: Recipe) -> torch.optim.SGD:
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov and recipe.momentum > 0,
        fused=True,
    )


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """`factor` times each peak, rounded to float32 wherever it is kept: Adam would show the difference."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rate = float(np.float32(group["peak_lr"] * factor))
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def prepare_for_graph(optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Keep learning rates in the device's memory, where a CUDA graph reads them anew in every replay."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=group["params"][0].device)
            if "capturable" in group:
                group["capturable"] = True


def state_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state dict, the same whether the step is a graph or not."""
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group["lr"] = float(group["lr"])
        if "capturable" in group:
            group["capturable"] = False
    return state
