"""The model as a recipe trains it: initialised from the data, averaged, compiled or shared among processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from cifar_models.cifar10 import MEAN, STD
from cifar_models.cifarnet import CifarNet
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.errors import InputError, reason
from training.recipe import Recipe
from training.world import World

NORMALISATION = {"cifar10": (MEAN, STD), "half": ((0.5,) * 3, (0.5,) * 3), "none": ((0.0,) * 3, (1.0,) * 3)}

_WHITENING_IMAGES = 5000


def build_model(recipe: Recipe, training: ImageSet, device: torch.device) -> Classifier:
    mean, std = NORMALISATION[recipe.normalisation]
    model = Classifier(recipe.model, num_classes=len(training.classes), mean=mean, std=std)
    if isinstance(model.network, CifarNet):
        model.network.whiten(model.preprocess(torch.from_numpy(training.sample(_WHITENING_IMAGES).images)))
    return model.to(device).to(memory_format=torch.channels_last)


def has_batch_norm(network: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def wrap(network: nn.Module, recipe: Recipe, world: World) -> Callable[[Tensor], Tensor]:
    """The network as the training step calls it: shared among processes, compiled if the recipe says so."""
    shared = DistributedDataParallel(network) if world.size > 1 else network
    return torch.compile(shared) if recipe.compile else shared


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


@contextmanager
def compiling() -> Iterator[None]:
    """Raise InputError with a way out when torch.compile fails inside the block."""
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        why = reason(getattr(error, "inner_exception", error))  # the outer one's last line is how to debug torch
        raise InputError(
            f"torch.compile fails here ({why}). On the CPU it needs a C++ compiler and Python's headers (Debian: g++, "
            "python3-dev). Install them, or train without --compile."
        ) from error
