"""The running average of a network's weights."""

from copy import deepcopy

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """`module`, a copy of a network that follows it, batch norm's running statistics too, by a decay in (0, 1).

    Its state is that of torch's AveragedModel, with which runs have begun.
    """

    n_averaged: Tensor  # steps that were followed; int64, on the CPU, where no device is waited for

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = deepcopy(network)
        self.decay = decay
        self.register_buffer("n_averaged", torch.tensor(0))

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take what the network is after its first step, and from then on a share of 1 - `decay`; counts are copied.

        A CUDA graph may repeat it from the second step on. Whoever calls counts the step in `n_averaged`.
        """
        share = 1 - self.decay if self.n_averaged else 1.0
        pairs = list(zip(self.module.state_dict().values(), network.state_dict().values(), strict=True))
        averages, weights = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averages, weights, share)
        for own, other in pairs:
            if not own.is_floating_point():
                own.copy_(other)
