"""Whether there is a CUDA device, and memory that it reads fast, without loading a library of gigabytes."""

import ctypes
import logging
import mmap
from math import prod
from typing import Any

import numpy as np

from cifar_models.errors import InputError
from cifar_models.picture import Pixels

logger = logging.getLogger(__name__)

_NO_DEVICE = {100, 34}  # CUDA_ERROR_NO_DEVICE; CUDA_ERROR_STUB_LIBRARY, of a library that is there to link with

_locked: list[Pixels] = []  # memory that is locked must not be given back


class DriverError(InputError):
    """A CUDA driver that is installed and does not work, and what it says."""


def has_cuda() -> bool:
    """Ask the driver itself: a library that was built for CUDA says nothing about this machine.

    Raises DriverError when it fails for another reason than that there is no device.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if failed and failed not in _NO_DEVICE:
        raise DriverError(f"The CUDA driver fails: {name_error(driver, failed)}.")
    return not failed and count.value > 0


def name_error(driver: Any, code: int) -> str:
    """As "CUDA_ERROR_UNKNOWN (999)"; the code alone where the driver does not know it."""
    name = ctypes.c_char_p()
    driver.cuGetErrorName(code, ctypes.byref(name))
    return f"{name.value.decode()} ({code})" if name.value else f"code {code}"


def pinned(shape: tuple[int, ...], device: str) -> Pixels:
    """An array, uint8, that CUDA copies fast: it is locked in memory for as long as the process lives.

    Where that cannot be done the copies are only slower, so nothing is raised.
    """
    # On pages of its own: CUDA locks none twice, and two of numpy's arrays may share one.
    array: Pixels = np.frombuffer(mmap.mmap(-1, prod(shape)), np.uint8).reshape(shape)
    if device == "cuda" and (fault := pin(array)):
        logger.warning("Batches are copied from ordinary memory, which is slower: cudaHostRegister: %s", fault)
    return array


def pin(array: Pixels) -> Any:
    """Lock its pages; what went wrong, or nothing."""
    try:
        import onnxruntime

        onnxruntime.preload_dlls()  # loads the runtime library of the CUDA version that ONNX Runtime was built for
        major = onnxruntime.cuda_version.partition(".")[0]
        runtime = ctypes.CDLL(f"libcudart.so.{major}")
        failed = runtime.cudaHostRegister(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes), 0)
    except (OSError, AttributeError) as error:
        return error
    if failed:
        runtime.cudaGetLastError()  # forgets it: else whoever asks next takes it for a fault of its own
    else:
        _locked.append(array)
    return failed
