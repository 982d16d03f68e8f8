"""What keeps a worker's memory as small after a million requests as after a thousand."""

import ctypes
import gc

# Of glibc's <malloc.h>. Left to itself it takes large bodies from the heap, once it has seen one, and from a heap for
# each thread: between the small things that stay there, the holes that bodies leave are never given back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE = 1024 * 1024  # bytes; asyncio's buffer for what a client sends is a quarter of that, and is used all the time
_SPARE = 16 * _LARGE  # at the heap's end
_HEAPS = 2


def limit_heaps() -> None:
    """Give back what is large when it is freed. Before threads are started, or each has a heap; only with glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    for option, value in ((_M_MMAP_THRESHOLD, _LARGE), (_M_TRIM_THRESHOLD, _SPARE), (_M_ARENA_MAX, _HEAPS)):
        mallopt(option, value)


def freeze_what_is_loaded() -> None:
    """Keep it out of garbage collections, which would walk BentoML's whole heap in the middle of requests.

    What is made later is collected, but not often: requests and connections free themselves, and a collection walks all
    that is in use. Under twice the load that a machine can answer, 10,000, 5 and 2 left 0.6 of the answers, and these
    leave 0.7 and more.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # finds nothing, as full collections wait until what the last one found has grown by a quarter
    gc.set_threshold(50_000, 10, 5)
