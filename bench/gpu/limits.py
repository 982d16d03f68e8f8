"""How many images a second a device could train at most, if it did nothing but a network's arithmetic or its memory."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cifar_models.classifier import Classifier

_BATCH = 2
_BYTES = 2  # of an activation in bfloat16
# An activation is written and read forward, and read once more backward; its gradient is written and read.
_FORWARD_TRIPS, _TRIPS = 2, 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one image; the optimizer's own is left out, as a batch shares it."""

    flops: float
    bytes: float  # between the device's memory and its cores, if no layer is fused with another

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


def count_cost(architecture: str, classes: int, *, backward: bool = True) -> Cost:
    """Of learning from an image, or, forward alone, of a teacher's answer. Counted on the CPU, in a batch of two."""
    model = Classifier(architecture, num_classes=classes).train()
    numbers: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        numbers.append(output.numel())

    for module in model.network.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        loss = model.network(model.preprocess(torch.zeros(_BATCH, 32, 32, 3, dtype=torch.uint8))).sum()
        if backward:
            torch.autograd.backward(loss)
    trips = _TRIPS if backward else _FORWARD_TRIPS
    return Cost(counter.get_total_flops() / _BATCH, sum(numbers) * _BYTES * trips / _BATCH)
