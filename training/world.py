"""The processes that train together, as torchrun starts them; one alone is a world of its own."""

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from cifar_models.errors import InputError

T = TypeVar("T")

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class World:
    """This process among the others."""

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU  # where this process computes
    local_rank: int = 0  # among those of this machine

    @property
    def is_first(self) -> bool:
        """Whether this is the one that validates, saves and prints."""
        return self.rank == 0

    def first(self, act: Callable[[], T]) -> T:
        """What `act` gives in the first process, in all of them; the others do not call it.

        InputError that it raises ends the others, too, without a word and without an error: torchrun, when one process
        fails, ends those that still run, and the first one has yet to save and to say why.
        """
        if self.size == 1:
            return act()
        outcomes: list[Any] = [None, None]
        if self.is_first:
            try:
                outcomes[0] = act()
            except InputError as error:
                outcomes[1] = error
        dist.broadcast_object_list(outcomes, src=0)
        given, refusal = outcomes
        if refusal is not None:
            if self.is_first:
                raise refusal
            sys.exit(0)
        result: T = given
        return result

    def any(self, value: bool) -> bool:
        """Whether it is true in one of the processes at least."""
        return self.means([value])[0] > 0

    def means(self, values: list[float]) -> list[float]:
        """The mean of each number over all processes; a device waits for them."""
        means: list[float] = self.mean(torch.tensor(values, dtype=torch.float32, device=self.device)).tolist()
        return means

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of all processes' tensors, element by element."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """One process of each machine goes through the block before the others do, who find what it left there."""
        if self.size > 1 and self.local_rank:
            dist.barrier()
        try:
            yield
        finally:
            if self.size > 1 and not self.local_rank:
                dist.barrier()

    def leave(self) -> None:
        """Part from the others; whoever uses the group, as a model in DDP does, is to be gone.

        Its threads end here. One that were left would meet the end of the interpreter, which aborts the process when
        the thread is just then giving back a tensor.
        """
        if self.size > 1:
            gc.collect()
            dist.destroy_process_group()


def join_world(device: torch.device) -> World:
    """Meet the other processes when torchrun started this one (`WORLD_SIZE` is set), over NCCL or gloo.

    Of CUDA devices, this process's becomes the one that torch means when it is told of none.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)  # or each process would also take room on the first one
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return World(device=device)
    # DDP would import it later, and then it holds on to the group for good, whose threads `leave` could not end.
    importlib.import_module("torch._dynamo")
    if device.type == "cuda":
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    return World(dist.get_rank(), dist.get_world_size(), device, local_rank())


def local_device() -> torch.device:
    """This process's CUDA device, one for each process of a machine, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank())


def local_size() -> int:
    """How many processes torchrun started on this machine; 1 without it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def local_rank() -> int:
    """As torchrun counts the processes of a machine; 0 without it."""
    return int(os.environ.get("LOCAL_RANK", "0"))
