"""The registered networks that what is slow is shown of: the others are built of layers that these have too."""

from dataclasses import replace
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cifar_models.registry import list_models
from training.recipe import Recipe
from training.recipes import RECIPES

COVERED = {  # by the networks that have all its layers between them, with more or fewer channels
    "resnet18": ["resnet20"],
    "resnet34": ["resnet20"],
    "resnet50": ["resnet50_imagenet_stem"],  # which computes a sixteenth
    "resnet101": ["resnet50_imagenet_stem"],
    "resnet152": ["resnet50_imagenet_stem"],
    "resnet18_imagenet_stem": ["resnet20", "resnet50_imagenet_stem"],
    "resnet34_imagenet_stem": ["resnet20", "resnet50_imagenet_stem"],
    "resnet101_imagenet_stem": ["resnet50_imagenet_stem"],
    "resnet152_imagenet_stem": ["resnet50_imagenet_stem"],
    "cifarnet_narrow": ["cifarnet"],
    "lenet_120": ["lenet"],
    "vgg11": ["batchnorm_net", "cifarnet"],
}
NETWORKS = [name for name in list_models() if name not in COVERED]


def options(recipe: Recipe) -> Recipe:
    """It without its network."""
    return replace(recipe, model="")


_THEIR_OPTIONS = [options(recipe) for recipe in RECIPES.values() if recipe.model in NETWORKS]
# Of the others' recipes only those that say what none of theirs says.
RECIPES_OF_THEM = [
    name for name, recipe in RECIPES.items() if recipe.model in NETWORKS or options(recipe) not in _THEIR_OPTIONS
]


def biases_before_batch_norm(model: nn.Module) -> set[str]:
    """Those that batch norm subtracts again: their gradient is zero but for rounding."""
    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    return {f"{name}.bias" for (name, _), (_, after) in pairwise(leaves) if isinstance(after, _BatchNorm)}
