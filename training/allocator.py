"""What becomes of the memory of tensors that are freed, on the CPU."""

import ctypes
import os

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # in glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep what it frees for what it allocates next, as a step needs again what the last one had.

    glibc gives large tensors back to the system at once, and each new one costs a fault for every page of it. By
    mallopt(3); nothing changes where the C library has none, or where MALLOC_TRIM_THRESHOLD_ says what to give back.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt(MMAP_MAX, 0)  # no tensor gets a mapping of its own, which would go with it
        mallopt(TRIM_THRESHOLD, -1)  # nor does the end of the heap go
