"""Whether there is a CUDA device, and memory that it reads fast, without loading a library of gigabytes."""

import ctypes
import logging

from cifar_models.picture import Pixels

logger = logging.getLogger(__name__)

_pinned: list[Pixels] = []  # memory that is locked must not be given back


def has_cuda() -> bool:
    """Ask the driver itself: a library that was built for CUDA says nothing about this machine."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def pin(array: Pixels, device: str) -> Pixels:
    """The same array, locked in memory for as long as the process lives, so that CUDA copies it faster.

    Where that cannot be done the copies are only slower, so nothing is raised.
    """
    if device != "cuda":
        return array
    _pinned.append(array)
    try:
        import onnxruntime

        onnxruntime.preload_dlls()  # loads the runtime library of the CUDA version that ONNX Runtime was built for
        major = onnxruntime.cuda_version.partition(".")[0]
        runtime = ctypes.CDLL(f"libcudart.so.{major}")
        failed = runtime.cudaHostRegister(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes), 0)
    except (OSError, AttributeError) as error:
        failed = error
    if failed:
        logger.warning("Batches are copied from ordinary memory, which is slower: cudaHostRegister: %s", failed)
    return array
