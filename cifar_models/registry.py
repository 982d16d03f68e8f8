"""The networks that can be built by name. Checkpoints and manifests store the name: it must not change its meaning."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

from torch import nn

from cifar_models.alexnet import alexnet, alexnet_224, alexnet_bn
from cifar_models.batchnorm_net import batchnorm_net
from cifar_models.cifarnet import cifarnet, cifarnet_narrow
from cifar_models.errors import InputError
from cifar_models.lenet import lenet, lenet_120, lenet_grey
from cifar_models.resnet import resnet18, resnet20, resnet34, resnet50, resnet101, resnet152
from cifar_models.vgg import vgg11


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """How to build a network, and the float input that it takes: [batch, channels, size, size]."""

    build: Callable[..., nn.Module]
    channels: int = 3
    size: int = 32


ARCHITECTURES: dict[str, Architecture] = {
    "cifarnet": Architecture(build=cifarnet),
    "cifarnet_narrow": Architecture(build=cifarnet_narrow),
    "alexnet": Architecture(build=alexnet),
    "alexnet_224": Architecture(build=alexnet_224, size=224),
    "alexnet_bn": Architecture(build=alexnet_bn),
    "batchnorm_net": Architecture(build=batchnorm_net),
    "lenet": Architecture(build=lenet),
    "lenet_120": Architecture(build=lenet_120),
    "lenet_grey": Architecture(build=lenet_grey, channels=1),
    "resnet18": Architecture(build=resnet18),
    "resnet20": Architecture(build=resnet20),
    "resnet34": Architecture(build=resnet34),
    "resnet50": Architecture(build=resnet50),
    "resnet101": Architecture(build=resnet101),
    "resnet152": Architecture(build=resnet152),
    "resnet18_imagenet_stem": Architecture(build=partial(resnet18, stem="imagenet")),
    "resnet34_imagenet_stem": Architecture(build=partial(resnet34, stem="imagenet")),
    "resnet50_imagenet_stem": Architecture(build=partial(resnet50, stem="imagenet")),
    "resnet101_imagenet_stem": Architecture(build=partial(resnet101, stem="imagenet")),
    "resnet152_imagenet_stem": Architecture(build=partial(resnet152, stem="imagenet")),
    "vgg11": Architecture(build=vgg11),
}
DEFAULT = "cifarnet"


def list_models() -> list[str]:
    """The names of all networks, sorted."""
    return sorted(ARCHITECTURES)


def find_model(name: str) -> Architecture:
    """The architecture of that name; InputError when there is none."""
    if name not in ARCHITECTURES:
        closest = get_close_matches(name.lower(), ARCHITECTURES, n=1)
        hint = f" Did you mean {closest[0]!r}?" if closest else ""
        raise InputError(f"Unknown model {name!r}.{hint} Choose one of: {', '.join(list_models())}.")
    return ARCHITECTURES[name]


def create_model(name: str, *, num_classes: int) -> nn.Module:
    """Build the named network with fresh weights: [batch, channels, size, size] -> [batch, num_classes]."""
    architecture = find_model(name)
    if num_classes < 2:
        raise InputError(f"num_classes must be at least 2, got {num_classes}.")
    return architecture.build(num_classes=num_classes)
