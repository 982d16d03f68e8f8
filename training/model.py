"""The model as a recipe trains it: initialised from the data, averaged, compiled or shared among processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
