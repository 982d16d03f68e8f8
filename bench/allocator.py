"""`python -m bench.allocator`: what a step on the CPU costs where freed memory is kept, and where it is not.

Pairs of a few steps in one process, on random images, so that a machine whose pace changes does not decide.
"""

import ctypes
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bench.images import random_images
from cifar_models.command import Parser, count, run_command
from cifar_models.registry import DEFAULT
from training.allocator import MMAP_MAX, TRIM_THRESHOLD, keep_freed_memory
from training.recipes import RECIPES
from training.trainer import Trainer
from training.world import World

_STEPS = 2  # that are timed; the one before them finds the memory as the other way left it
_MMAP_THRESHOLD = -3  # in glibc's malloc.h


def main() -> None:
    parser = Parser(prog="python -m bench.allocator", description="Steps that keep what they free, and others.")
    parser.add_argument("recipe", nargs="?", choices=RECIPES, default=DEFAULT, help=f"default: {DEFAULT}")
    parser.add_argument("--batch-size", type=count, help="default: the recipe's")
    parser.add_argument("--pairs", type=count, default=8, help="default: 8")
    options = parser.parse_args()
    recipe = replace(RECIPES[options.recipe], epochs=1)
    if options.batch_size:
        recipe = replace(recipe, batch_size=options.batch_size)
    data = random_images(recipe.batch_size * (2 * options.pairs + 1) * (_STEPS + 1))
    steps = Trainer(recipe, data, data.subset(np.arange(10)), torch.device("cpu"), World()).train_epoch()
    seconds_of(steps, keep_freed_memory)  # warms up
    ratios = []
    for pair in range(options.pairs):
        ways = [keep_freed_memory, give_back]
        found = {way: seconds_of(steps, way) for way in (ways if pair % 2 else reversed(ways))}
        ratios.append(found[keep_freed_memory] / found[give_back])
        print(f"{found[keep_freed_memory]:.3f} s kept, {found[give_back]:.3f} s not: {ratios[-1]:.2f}", flush=True)
    print(f"{recipe.model}, batches of {recipe.batch_size}: {statistics.median(ratios):.2f} of the time")


def give_back() -> None:
    """As glibc does by itself once it has seen tensors of 32 MiB and more come and go."""
    libc = ctypes.CDLL(None)
    for parameter, value in ((MMAP_MAX, 65536), (_MMAP_THRESHOLD, 32 << 20), (TRIM_THRESHOLD, 64 << 20)):
        libc.mallopt(parameter, value)
    libc.malloc_trim(0)


def seconds_of(steps: Iterator[Tensor], way: Callable[[], None]) -> float:
    """A step's, by this way of freeing memory."""
    way()
    next(steps)
    started = time.perf_counter()
    for _ in range(_STEPS):
        next(steps)
    return (time.perf_counter() - started) / _STEPS


if __name__ == "__main__":
    run_command(main)
