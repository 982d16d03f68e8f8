"""A step of training finds the memory of the one before it, instead of new pages."""

import ctypes
import resource
from dataclasses import replace

import pytest
import torch
from small_runs import few_images

from training.recipes import RECIPES
from training.trainer import Trainer
from training.world import World

PAGES = 16_384  # of 4 KiB


def faults() -> int:
    """The pages that are new to the process when a tensor is filled."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(PAGES * 1024)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_memory_that_was_freed_is_there_for_the_next_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    recipe = replace(RECIPES["seed003-lenet"], batch_size=4)
    Trainer(recipe, few_images(1, seed=1), few_images(1, seed=2), torch.device("cpu"), World())
    *_, last = (faults() for _ in range(4))
    assert last < PAGES / 10
