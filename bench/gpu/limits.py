"""How many images a second a device could train at most, if it did nothing but a network's arithmetic or its memory."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cifar_models.classifier import Classifier

_BATCH = 2
_BYTES = 2  # of an activation in bfloat16
# An activation is written and read forward, and read once more backward; its gradient is written and read.
_TRIPS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Of training one image, forward and backward; the optimizer's own is left out, as a batch shares it."""

    flops: float
    bytes: float  # between the device's memory and its cores, if no layer is fused with another


def training_cost(architecture: str, classes: int) -> Cost:
    """Counted on the CPU, in a batch of two."""
    model = Classifier(architecture, num_classes=classes).train()
    numbers: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        numbers.append(output.numel())

    for module in model.network.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        loss = model.network(model.preprocess(torch.zeros(_BATCH, 32, 32, 3, dtype=torch.uint8))).sum()
        torch.autograd.backward(loss)
    return Cost(counter.get_total_flops() / _BATCH, sum(numbers) * _BYTES * _TRIPS / _BATCH)
