"""Running out of memory, said in one line with what to try."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cifar_models.errors import InputError


@contextmanager
def enough_memory(otherwise: str) -> Iterator[None]:
    """Raise InputError with this line when the device or the machine runs out of memory inside the block."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(otherwise) from error


def is_out_of_memory(error: Exception) -> bool:
    """CUDA and Python have errors of their own for it; torch's allocator on the CPU raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)
