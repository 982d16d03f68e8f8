"""The parent process, BentoML's: it watches over the workers, by circus, and tells them when the whole server stops."""

import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bentoml._internal.utils import circus
from circus import sockets
from tornado import gen

from serving.observing.metrics import FOLDER

END = "stopping"  # a file in the folder of all workers: the server stops, and they are stopped with it
_LOOK = 2  # seconds between two looks whether the workers live; BentoML's figure is 10
_BUSY = 0.05  # seconds between looks whether circus has done what it does

_stop: Any = circus.Arbiter.stop


def watch_over_workers() -> None:
    """Have BentoML look more often, replace workers in a container too, and stop whenever it is told to.

    In a container it would replace none, for the container to end and be started again; but it only ends with its last.
    And of an address where it cannot listen it would print a traceback.
    """
    kind: Any = circus.Arbiter
    kind.stop = stop
    sockets.addrinfo = partial(find_address, sockets.addrinfo)
    create: Any = circus.create_standalone_arbiter

    def create_arbiter(*arguments: Any, **options: Any) -> Any:
        arbiter = create(*arguments, check_delay=_LOOK, **options)
        arbiter.loop.time = time.monotonic  # by a clock that is put back an hour it would not look for an hour
        for watcher in arbiter.watchers:
            watcher.respawn = True
        for listener in arbiter.sockets.values():
            listener.bind = partial(bind, listener, listener.bind)
        return arbiter

    circus.create_standalone_arbiter = create_arbiter


def find_address(find: Callable[..., Any], host: str, port: int, family: int) -> Any:
    """Or end the process. The system would take a port above 65,535 for another one, below."""
    if not 0 <= port < 2**16:
        sys.exit(f"error: --port {port} is no port; name one from 0 to {2**16 - 1}.")
    return find(host, port, family)


def bind(listener: Any, bind_: Callable[[Any], None], address: Any) -> None:
    """Or end the process."""
    try:
        bind_(address)
    except OSError as error:
        sys.exit(f"error: {listener.location} cannot be listened on ({error.strerror}); name another --port or --host.")


@gen.coroutine
def stop(arbiter: Any) -> Any:
    """BentoML's `Arbiter.stop`, announced; where circus does something else, as replacing a worker, after that.

    circus itself raises an error then, which nobody sees, and the signal is lost.
    """
    while arbiter._exclusive_running_command is not None:
        yield gen.sleep(_BUSY)
    announce_end(arbiter)
    yield _stop(arbiter)


def announce_end(arbiter: Any) -> None:
    for watcher in arbiter.watchers:
        if folder := (watcher.env or {}).get(FOLDER):  # one that looks for changed files has none
            with contextlib.suppress(OSError):  # then the port stays open until this process has gone
                Path(folder, END).touch()
