"""Work that the event loop has done by a thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def run(threads: Executor | None, function: Callable[..., T], *args: object) -> T:
    """In one of the threads, or here and now.

    Nothing is held when it ends: who is cancelled waits for a thread that has begun, and takes the arguments from one
    that has not.
    """
    if threads is None:
        return function(*args)
    work = [args]
    future = threads.submit(lambda: function(*work.pop()))
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        if future.cancel():
            work.clear()  # the executor keeps what was cancelled until its turn
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
        while not ended.is_set():
            with suppress(asyncio.CancelledError):
                await ended.wait()
        raise
    finally:
        del future  # what was raised holds this frame, and would hold itself, with all that was decoded, through it
