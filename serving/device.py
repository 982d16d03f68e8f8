"""Whether there is a CUDA device, without loading a library of gigabytes to find out."""

import ctypes


def has_cuda() -> bool:
    """Ask the driver itself: a library that was built for CUDA says nothing about this machine."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
