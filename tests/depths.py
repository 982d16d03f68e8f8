"""Networks that are built of layers that smaller ones have too: what is slow is shown of the smaller ones."""

from cifar_models.registry import list_models
from training.recipes import RECIPES

SMALLER = {  # the networks that have all its layers between them
    "resnet34": ["resnet18"],
    "resnet101": ["resnet50"],
    "resnet152": ["resnet50"],
    "resnet34_imagenet_stem": ["resnet18_imagenet_stem"],
    "resnet50_imagenet_stem": ["resnet50", "resnet18_imagenet_stem"],
    "resnet101_imagenet_stem": ["resnet50", "resnet18_imagenet_stem"],
    "resnet152_imagenet_stem": ["resnet50", "resnet18_imagenet_stem"],
}
NETWORKS = [name for name in list_models() if name not in SMALLER]
RECIPES_OF_THEM = [name for name, recipe in RECIPES.items() if recipe.model not in SMALLER]
