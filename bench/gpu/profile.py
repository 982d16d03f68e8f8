"""Where a training step's time goes on the device: ResNet-18, random images, no data to wait for."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.gpu.context import Context
from bench.gpu.limits import count_cost
from bench.gpu.record import Outcome
from bench.images import random_images
from cifar_models.cifar10 import LABELS
from cifar_models.dataset import split_validation
from training.recipes import RECIPES
from training.trainer import Trainer
from training.world import World

RECIPE = "resnet18"

_IMAGES = (25_000, 20)
_MINIATURE_BATCH, _MINIATURE_MODEL = 4, "resnet20"
_STEPS = (20, 1)  # that are profiled, and thrice as many that are timed
# What a kernel does, by the first of these that its name contains.
_KINDS = {
    "what was compiled": ("triton_",),  # called by all that it was made of
    "batch norm": ("batch_norm", "batchnorm", "bn_fw", "bn_bw"),
    "optimizers": ("multi_tensor", "foreach", "fused_sgd"),
    "convolutions and matrix products": ("conv", "gemm", "xmma", "cutlass", "wgrad", "dgrad", "fprop", "nvjet", "mm_"),
    "layout": ("nchwtonhwc", "nhwctonchw", "transpose"),
}
_REST = "element by element, pooling, loss, augmentation"


def inputs(context: Context, *, compiled: bool) -> dict[str, Any]:
    return {"recipe": asdict(replace(RECIPES[RECIPE], compile=compiled))}


def run(context: Context, *, compiled: bool) -> Outcome:
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):  # as training.fit has it, and no server
        return Outcome(measure(context, compiled=compiled))


def measure(context: Context, *, compiled: bool) -> dict[str, Any]:
    trainer = random_trainer(context, compiled=compiled)
    count = context.pick(_STEPS)
    steps = go_on(trainer)
    take(context, steps, count)  # warms up
    started = time.perf_counter()
    take(context, steps, 3 * count)
    step_seconds = (time.perf_counter() - started) / (3 * count)
    activities = [ProfilerActivity.CUDA if context.cuda else ProfilerActivity.CPU]
    with profile(activities=activities) as profiled:
        take(context, steps, count)
    kinds: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        microseconds = event.self_device_time_total if context.cuda else event.self_cpu_time_total
        kinds[kind_of(event.key)] += microseconds / 1e6 / count
    return {
        "batch": trainer.batch_size,
        "step_seconds": step_seconds,
        "images_per_second": trainer.batch_size / step_seconds,
        "flops_per_image": count_cost(trainer.recipe.model, len(LABELS)).flops,
        "kernel_seconds": dict(sorted(kinds.items(), key=lambda each: -each[1])),
    }


def random_trainer(context: Context, *, compiled: bool) -> Trainer:
    count = context.pick(_IMAGES)
    recipe = replace(RECIPES[RECIPE], compile=compiled, validation=0.5)
    if context.miniature:
        recipe = replace(recipe, batch_size=_MINIATURE_BATCH, model=_MINIATURE_MODEL)
    data = random_images(count)
    training, validation = (data.subset(part) for part in split_validation(data, recipe.validation, 0))
    return Trainer(recipe, training, validation, torch.device(context.device), World())


def go_on(trainer: Trainer) -> Iterator[Tensor]:
    """Steps without an end."""
    while True:
        yield from trainer.train_epoch()
        trainer.end_epoch()


def take(context: Context, steps: Iterator[Tensor], count: int) -> None:
    """That many steps, waited for at the end alone."""
    for _ in range(count):
        next(steps)
    if context.cuda:
        torch.cuda.synchronize()


def kind_of(kernel: str) -> str:
    name = kernel.lower()
    return next((kind for kind, parts in _KINDS.items() if any(part in name for part in parts)), _REST)
